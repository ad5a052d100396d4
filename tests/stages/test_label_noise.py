"""The stage finds labels that a test made wrong, and its rows fit into the corrections."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from stages import label_noise
from stages.label_noise import COLUMNS, LabelNoiseParams
from stages.shared.classes import write_class_names
from stages.shared.errors import StageError
from stages.shared.spreadsheet import unescape_formula
from tests.running import read_json, run_command, write_params

CLASSES = ("negative", "positive")
SHARES = {"train": slice(0, 300), "validation": slice(300, 350), "test": slice(350, 400)}
WORDS = ("good", "bad", "great", "awful", "lovely", "poor")
PLANTED = (3, 40, 77, 108, 151, 190, 233, 274, 310, 347, 361, 388)


@pytest.fixture
def paths(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> label_noise.Paths:
    """Splits of 400 texts, twelve of them with the wrong label; every text begins like a formula.

    Instead of the encoder, `embed` counts words of praise and blame, and adds noise.
    """

    def counts(texts: Sequence[str], *_: object) -> np.ndarray:
        words = np.array([[word in text for word in WORDS] for text in texts], dtype=float)
        return np.hstack([words, np.random.default_rng(0).normal(0, 0.2, (len(texts), 4))])

    monkeypatch.setattr(label_noise, "embed", counts)
    rows = pd.DataFrame({"text": [f"=a {WORDS[number % 6]} film {number}" for number in range(400)], "label": [1, 0] * 200})
    rows.loc[list(PLANTED), "label"] = 1 - rows.loc[list(PLANTED), "label"]
    for name, share in SHARES.items():
        rows[share].to_csv(tmp_path / f"{name}.csv", index=False)
    splits = {name: tmp_path / f"{name}.csv" for name in SHARES}
    write_class_names(CLASSES, tmp_path / "classes.json")
    files = {"classes": tmp_path / "classes.json", "issues": tmp_path / "issues.csv"}
    files |= {"metrics": tmp_path / "metrics.json", "details": tmp_path / "details.json"}
    return label_noise.Paths(params=tmp_path, base=tiny_base, **files, **splits)


def issues_of(paths: label_noise.Paths) -> list[dict[str, str]]:
    with paths.issues.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_wrong_labels_are_listed_with_the_label_that_they_should_have(paths):
    label_noise.run(LabelNoiseParams(folds=5, max_length=32, seed=7), CLASSES, paths)
    found = issues_of(paths)
    numbers = {int(unescape_formula(row["text"]).split()[-1]) for row in found}
    assert len(numbers & set(PLANTED)) >= 7
    assert len(numbers - set(PLANTED)) <= 4
    assert all(row["label"] != row["given"] and {row["label"], row["given"]} == set(CLASSES) for row in found)
    assert [float(row["quality"]) for row in found] == sorted(float(row["quality"]) for row in found)
    metrics = read_json(paths.details)
    assert metrics["checked"] == 400
    assert sum(metrics["issues"].values()) == sum(metrics["classes"].values()) == len(found)


def test_text_that_a_spreadsheet_would_run_is_escaped(paths):
    label_noise.run(LabelNoiseParams(folds=5, max_length=32, seed=7), CLASSES, paths)
    assert all(row["text"].startswith("'=a ") for row in issues_of(paths))


def test_equal_runs_give_equal_bytes(paths):
    written = []
    for _ in range(2):
        label_noise.run(LabelNoiseParams(folds=3, max_length=32, seed=7), CLASSES, paths)
        written.append((paths.issues.read_bytes(), paths.details.read_bytes()))
    assert written[0] == written[1]


def test_stage_is_off_by_default_and_then_needs_no_model(paths, tmp_path):
    flags = [part for name in SHARES for part in (f"--{name}", getattr(paths, name))]
    outputs = ["--issues", paths.issues, "--metrics", paths.metrics, "--details", paths.details]
    done = run_command(
        *(sys.executable, "-m", "stages.label_noise", "--params", write_params(tmp_path / "params.yaml", {})),
        *(*flags, "--classes", paths.classes, "--base", tmp_path / "nowhere", *outputs),
    )
    assert done.returncode == 0, done.stderr
    assert paths.issues.read_text("utf-8") == ",".join(COLUMNS) + "\n"
    assert read_json(paths.metrics)["checked"] == 0


def test_text_gets_the_same_vector_alone_and_in_a_batch(tiny_base):
    texts = ["good film", "the staff was very great and lovely and good", "bad", "awful food, poor phone"] * 20
    together = label_noise.embed(texts, tiny_base, 32)
    assert together.shape == (80, 16)
    np.testing.assert_allclose(together[1], label_noise.embed([texts[1]], tiny_base, 32)[0], atol=1e-5)


def test_class_with_fewer_texts_than_folds_is_refused(paths):
    rows = pd.read_csv(paths.train)
    rows[rows["label"] == 0].to_csv(paths.train, index=False)
    for split in (paths.validation, paths.test):
        rows[:3].assign(label=[0, 1, 1]).to_csv(split, index=False)
    with pytest.raises(StageError, match="the smallest class has 4 texts: set it to 4 at most"):
        label_noise.run(LabelNoiseParams(folds=5, max_length=32, seed=7), CLASSES, paths)


def test_one_fold_is_refused_before_the_work():
    with pytest.raises(ValidationError, match="set 2 or more, or 0 to switch the stage off"):
        LabelNoiseParams(folds=1, max_length=32, seed=7)
