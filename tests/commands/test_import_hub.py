"""The command imports a data set of the Hub at one commit, with its provenance, and the printed params make splits of it."""

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from ruamel.yaml import YAML

from stages.shared.splits import read_split
from tests.commands.hub_server import COMMIT, hub_of
from tests.running import ROOT, read_json, run_command
from tests.stages.test_preprocess import process_files, split_files

SPLITS = {"train": 60, "validation": 12, "test": 12}


def class_labels(folder: Path, unlabelled_test: bool = False) -> None:
    """Write Parquet as the Hub has it: one label, by id."""
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["neg", "pos, really"]), "idx": Value("int32")})
    for split, count in SPLITS.items():
        labels = [-1 if split == "test" and unlabelled_test else number % 2 for number in range(count)]
        rows = {"sentence": [f"{split} sentence {number}" for number in range(count)], "label": labels, "idx": list(range(count))}
        Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}-00000-of-00001.parquet")


def several_labels(folder: Path) -> None:
    """Write Parquet with a list of labels for each text, as GoEmotions has."""
    features = Features({"text": Value("string"), "labels": List(ClassLabel(names=["joy", "anger", "fear"]))})
    for split, count in SPLITS.items():
        labels = [[number % 3] if number != 4 else [0, 2] for number in range(count)]
        rows = {"text": [f"{split} text {number}" for number in range(count)], "labels": labels}
        Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}-00000-of-00001.parquet")


def numbers_as_names(folder: Path) -> None:
    """Write class names that are numbers in another order than the class ids, and a row without a label."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["1", "0"]), "tokens": List(Value("string"))})
    labels = [*(number % 2 for number in range(60)), -1]
    rows = {"text": [f"text {number}" for number in range(61)], "label": labels, "tokens": [["a"]] * 61}
    Dataset.from_dict(rows, features=features).to_parquet(folder / "train-00000-of-00001.parquet")


def table(folder: Path) -> None:
    """Write a CSV with stars as labels, an unusual name for the texts, and texts that readers take for missing values."""
    texts = ["NA", "null", "None", *(f"a text, with a comma {number}" for number in range(27))]
    frame = pd.DataFrame({"id": range(30), "what they said": texts, "stars": [number % 3 + 1 for number in range(30)]})
    frame.to_csv(folder / "data.csv", index=False)


def import_hub(hub: str, repository: Path, *arguments: str):
    environment = {"HF_ENDPOINT": hub, "HF_HOME": str(repository.parent / "cache"), "PYTHONPATH": str(ROOT)}
    return run_command(sys.executable, "-m", "commands.import_hub", *arguments, cwd=repository, **environment)


def printed_params(output: str) -> dict[str, object]:
    """Return the preprocess params of the printed command, as DVC's `-S` takes them."""
    words = shlex.split(output.strip().splitlines()[-1])
    assert words[:3] == ["dvc", "exp", "run"]
    assert words[3::2] == ["-S"] * len(words[3::2])
    pairs = [word.removeprefix("preprocess.").split("=", 1) for word in words[4::2]]
    return {name: YAML(typ="safe", pure=True).load(value) for name, value in pairs}


@pytest.mark.parametrize(
    ("make", "rows", "labels"),
    [
        (class_labels, {"train": 60, "validation": 12, "test": 12}, ["neg", "pos, really"]),
        (lambda folder: class_labels(folder, unlabelled_test=True), {"train": 54, "validation": 6, "test": 12}, ["neg", "pos, really"]),
        (several_labels, {"train": 59, "validation": 11, "test": 11}, ["joy", "anger", "fear"]),
        (numbers_as_names, {"train": 42, "validation": 6, "test": 12}, ["1", "0"]),
        (table, {"train": 21, "validation": 3, "test": 6}, ["1", "2", "3"]),
    ],
    ids=["one label", "test without labels", "several labels", "numbers as names", "csv"],
)
def test_printed_params_make_splits_of_the_imported_data_set(
    tmp_path: Path, repository: Path, make: Callable[[Path], None], rows: dict[str, int], labels: list[str]
) -> None:
    (tmp_path / "hub").mkdir()
    make(tmp_path / "hub")
    with hub_of(tmp_path / "hub") as hub:
        done = import_hub(hub, repository, "someone/reviews@main")
    assert done.returncode == 0, done.stderr
    params = printed_params(done.stdout)
    assert params["labels"] == labels
    source_params = {"source": "source", "validation": "validation_source", "test": "test_source"}
    sources = {name: repository / str(params.pop(param)) for name, param in source_params.items() if param in params}
    metrics = process_files(tmp_path, sources, **params)
    assert metrics["rows"] == rows

    label_of = {text: label for file in split_files(tmp_path).values() for text, label in read_split(file).itertuples(index=False)}
    if make is numbers_as_names:
        assert (label_of["text 0"], label_of["text 1"]) == (0, 1), "by class name: 1 is the first class"

    provenance = read_json(repository / "data/raw/someone_reviews.provenance.json")
    assert (provenance["hub"], provenance["revision"], provenance["commit"]) == ("someone/reviews", "main", COMMIT)
    assert provenance["splits"]["train"]["sha256"] == metrics["source"]["sha256"]
    status = run_command("git", "status", "--porcelain", "--untracked-files=all", cwd=repository).stdout
    assert "data/raw/someone_reviews_train.parquet.dvc" in status
    assert "data/raw/someone_reviews.provenance.json" in status
    assert not re.search(r"\.parquet$", status, re.MULTILINE)


def test_texts_that_readers_take_for_missing_values_stay_texts(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "hub").mkdir()
    table(tmp_path / "hub")
    with hub_of(tmp_path / "hub") as hub:
        assert import_hub(hub, repository, "someone/reviews@main").returncode == 0
    assert list(pd.read_parquet(repository / "data/raw/someone_reviews_train.parquet")["what they said"][:3]) == ["NA", "null", "None"]


def test_same_commit_gives_the_same_bytes(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "hub").mkdir()
    class_labels(tmp_path / "hub")
    contents = []
    with hub_of(tmp_path / "hub") as hub:
        for revision in ("main", COMMIT):
            assert import_hub(hub, repository, f"someone/reviews@{revision}").returncode == 0
            contents.append({file.name: file.read_bytes() for file in (repository / "data/raw").glob("*.parquet")})
    assert contents[0] == contents[1]


CONFIGS = """---
configs:
- config_name: en
  data_files: en.csv
- config_name: ko
  data_files: ko.csv
---
"""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["someone/other@main"], "is not on the Hub, or it is private: check the id, or set HF_TOKEN"),
        (["someone/gated@main"], "is gated: accept the terms on its page, and set HF_TOKEN"),
        (["someone/reviews@v9"], "the data set exists, but not this revision"),
        (["someone/reviews@main"], "Please pick one among the available configs: ['en', 'ko']"),
        (["someone/reviews@main", "fr"], "BuilderConfig 'fr' not found"),
        (["someone/reviews"], "does not name a data set at a revision"),
        ([], "usage: make dataset"),
    ],
)
def test_data_set_that_cannot_be_fetched_is_an_error_message_and_leaves_nothing(
    tmp_path: Path, repository: Path, arguments: list[str], sentence: str
) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/README.md").write_text(CONFIGS, "utf-8")
    for name in ("en", "ko"):
        (tmp_path / f"hub/{name}.csv").write_text("text,label\nwell,1\n", "utf-8")
    with hub_of(tmp_path / "hub") as hub:
        done = import_hub(hub, repository, *arguments)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert list((repository / "data/raw").iterdir()) == []


def test_chosen_config_is_part_of_the_file_names(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/README.md").write_text(CONFIGS, "utf-8")
    for name in ("en", "ko"):
        (tmp_path / f"hub/{name}.csv").write_text(f"text,label\n{name},1\n", "utf-8")
    with hub_of(tmp_path / "hub") as hub:
        assert import_hub(hub, repository, "someone/reviews@main", "ko").returncode == 0
    assert list(pd.read_parquet(repository / "data/raw/someone_reviews_ko_train.parquet")["text"]) == ["ko"]


def test_missing_network_is_an_error_message_at_once(repository: Path) -> None:
    done = import_hub("http://127.0.0.1:9", repository, "someone/reviews@main")
    assert done.returncode == 1
    assert "needs 127.0.0.1:9, which cannot be reached" in done.stderr


def test_private_csv_config_of_datasets_takes_the_option_that_keeps_texts() -> None:
    """`datasets.packaged_modules.csv` is a private part of datasets."""
    from datasets.packaged_modules.csv.csv import CsvConfig

    assert "keep_default_na" in {field.name for field in dataclasses.fields(CsvConfig)}
