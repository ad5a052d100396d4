"""Texts that contain each other are counted across the splits, and share a split if params ask for it."""

import hashlib
import json
import logging
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.shared.dataset.duplicates import KEYS
from stages.shared.dataset.errors import GroupsTooLarge
from stages.shared.splits import read_split
from tests.running import read_json
from tests.stages.shared.dataset.test_contained_texts import expected
from tests.stages.test_preprocess import UNLIKE, process, process_files, split_files, written

LABELS = ("negative", "positive")
ENGLISH = [f"{start}{end}" for start in ("ta", "co", "di", "fu", "ge", "ho") for end in ("llen", "rk", "sto", "venta")]
KOREAN = [f"{start}{end}" for start in ("가", "나", "다", "라", "마", "바") for end in ("람이", "무를", "리다", "마음")]


def sentences(count: int, words: list[str] = ENGLISH, seed: int = 1) -> list[str]:
    """Return sentences of 12 words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, 12)) for _ in range(count)]


def phrases(count: int, words: list[str] = ENGLISH) -> list[tuple[str, str]]:
    """Return sentences, each with two of its halves and one of their halves, as labelled rows."""
    rows = []
    for number, sentence in enumerate(sentences(count, words)):
        part = sentence.split()
        rows += [(" ".join(run), LABELS[number % 2]) for run in (part, part[:8], part[4:], part[5:11])]
    return rows


def texts_of(folder: Path) -> dict[str, list[str]]:
    return {name: read_split(file)["text"].tolist() for name, file in split_files(folder).items()}


def shares(splits: dict[str, list[str]], key: str = "nfkc") -> dict[str, float]:
    """Count by a plain search which texts stand inside a train text or contain one."""
    found = {}
    for name in ("validation", "test"):
        keys = [KEYS[key](text) for text in splits[name] + splits["train"]]
        pairs = [pair for pair in expected(keys) if min(pair) < len(splits[name]) <= max(pair)]
        found[name] = len({min(pair) for pair in pairs}) / max(1, len(splits[name]))
    return found


RUNS = st.tuples(st.sampled_from(sentences(4)), st.integers(0, 11), st.integers(1, 12), st.sampled_from(["", ".", "!"]))
TEXTS = RUNS.map(lambda run: " ".join(run[0].split()[run[1] : run[1] + run[2]]) + run[3])
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(LABELS)), min_size=1, max_size=25)


@settings(max_examples=20, deadline=None)
@given(
    origins=st.fixed_dictionaries({"source": ROWS}, optional={"validation": ROWS, "test": ROWS}),
    seed=st.integers(0, 2**32 - 1),
    key=st.sampled_from(sorted(KEYS)),
    near=st.sampled_from([0, 0.5]),
)
def test_any_files_are_counted_right_and_contained_texts_share_a_split_if_asked(tmp_path_factory, origins, seed, key, near):
    folder = tmp_path_factory.mktemp("run")
    for name, rows in origins.items():
        own = [(hashlib.md5(f"{name} {text}".encode()).hexdigest(), label) for text, label in UNLIKE]
        written(folder, "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows + own), f"{name}.jsonl")
    files = {name: folder / f"{name}.jsonl" for name in origins}
    how = {"near_duplicates": near, "seed": seed, "conflicts": "keep_first", "duplicate_key": key}
    reported = process_files(folder, files, **how)
    assert reported["contained"] == pytest.approx(shares(texts_of(folder), key), abs=1e-6)

    grouped = process_files(folder, files, **how, containment="group")
    assert grouped["contained"] == {"validation": 0, "test": 0} == shares(texts_of(folder), key)
    assert grouped["source"]["rows"] == len(origins["source"]) + len(UNLIKE)
    splits = {name: [KEYS[key](text) for text in texts] for name, texts in texts_of(folder).items()}
    for one, other in combinations(splits, 2):
        if not {one, other} <= set(origins):  # two supplied files are used as they are
            keys = splits[one] + splits[other]
            assert not [pair for pair in expected(keys) if min(pair) < len(splits[one]) <= max(pair)]


@pytest.mark.parametrize("words", [ENGLISH, KOREAN], ids=["English", "Korean"])
def test_split_of_phrases_warns_and_the_remedy_keeps_them_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, words: list[str]
) -> None:
    caplog.set_level(logging.WARNING)
    metrics, _ = process(tmp_path, phrases(100, words))
    share = metrics["contained"]["test"]
    assert share == pytest.approx(shares(texts_of(tmp_path))["test"], abs=1e-6)
    assert share > 0.8
    warning = f"{share:.1%} of the test texts stand inside a train text, or contain one"
    assert warning in caplog.text
    page = (tmp_path / "report.html").read_text("utf-8")
    assert warning in page
    assert "set preprocess.containment to group" in page
    assert "Texts that stand inside another split&#39;s texts" in page

    caplog.clear()
    metrics, splits = process(tmp_path, phrases(100, words), containment="group")
    assert metrics["contained"] == {"test": 0, "validation": 0}
    assert metrics["largest_group"] == 4
    assert metrics["rows"] == {"train": 280, "validation": 40, "test": 80}
    assert [sum(frame["label"]) for frame in splits.values()] == [140, 20, 40]
    assert caplog.text == ""
    assert "inside" not in (tmp_path / "report.html").read_text("utf-8")


def test_split_of_sentences_does_not_warn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics, _ = process(tmp_path, [(text, LABELS[number % 2]) for number, text in enumerate(sentences(100))])
    assert metrics["contained"] == {"test": 0, "validation": 0}
    assert caplog.text == ""


@pytest.mark.parametrize(("key", "together"), [("nfkc", False), ("alnum", True)])
def test_punctuation_parts_texts_unless_the_duplicate_key_ignores_it(tmp_path: Path, key: str, together: bool) -> None:
    rows = [(text, LABELS[number % 2]) for number, text in enumerate(sentences(40))]
    rows += [(", ".join(text.split()[2:9]), label) for text, label in rows]
    metrics, _ = process(tmp_path, rows, duplicate_key=key, containment="group")
    assert metrics["largest_group"] == (2 if together else 1)


def test_search_for_contained_texts_is_off_above_the_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = phrases(30)
    metrics, _ = process(tmp_path, rows, near_duplicates_limit=len(rows) - 1)
    assert metrics["contained"] == {}
    assert "more than 119 rows (preprocess.near_duplicates_limit)" in caplog.text
    metrics, _ = process(tmp_path, rows, near_duplicates_limit=len(rows))
    assert metrics["contained"].keys() == {"validation", "test"}


def test_supplied_file_of_phrases_warns_and_takes_the_texts_out_of_train_if_asked(tmp_path: Path) -> None:
    whole = sentences(60)
    rows = [(text, LABELS[number % 2]) for number, text in enumerate(whole)]
    source = written(tmp_path, "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    held_out = [(" ".join(text.split()[3:10]), label) for text, label in rows[:20]] + [
        (text, LABELS[number % 2]) for number, text in enumerate(sentences(20, seed=2))
    ]
    test = written(tmp_path, "text,label\n" + "".join(f"{text},{label}\n" for text, label in held_out), "test_file.csv")
    files = {"source": source, "test": test}
    metrics = process_files(tmp_path, files, validation_size=0.01)
    in_validation = sum(text in whole[:20] for text in texts_of(tmp_path)["validation"])
    assert metrics["contained"]["test"] == pytest.approx((20 - in_validation) / 40)
    assert metrics["dropped"]["leaked"] == 0

    metrics = process_files(tmp_path, files, validation_size=0.01, containment="group")
    assert metrics["contained"] == {"test": 0, "validation": 0}
    assert metrics["dropped"]["leaked"] == 20
    assert metrics["rows"]["test"] == 40
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "20 texts of the source stand inside texts of a supplied validation or test file, or contain them" in page
    assert "near duplicates of a supplied" not in page


def one_large_group(count: int, others: int) -> list[tuple[str, str]]:
    common = "this review was written by a customer"
    rows = [(common, LABELS[0])] + [(f"{common}: {text}", LABELS[n % 2]) for n, text in enumerate(sentences(count - 1))]
    return rows + [(text, LABELS[n % 2]) for n, text in enumerate(sentences(others, seed=2))]


def test_large_group_is_trained_on_and_the_other_splits_keep_their_sizes(tmp_path: Path) -> None:
    metrics, splits = process(tmp_path, one_large_group(300, 300), containment="group")
    assert metrics["largest_group"] == 300
    assert metrics["rows"] == {"train": 420, "validation": 60, "test": 120}
    assert sum(splits["train"]["text"].str.startswith("this review")) == 300
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "300 rows form one group of linked texts or of one person&#39;s texts" in page


REMEDIES = [{"containment": "report"}, {"validation_size": 0.02, "test_size": 0.02}]


def test_group_that_leaves_too_few_rows_is_refused_and_each_remedy_helps(tmp_path: Path) -> None:
    rows = one_large_group(540, 60)
    with pytest.raises(GroupsTooLarge) as refused:
        process(tmp_path, rows, containment="group")
    assert str(refused.value).endswith(
        "source.jsonl cannot be split: 90% of the rows are in large groups of texts that share a split, and the others do not fill "
        "validation and test: set preprocess.containment to report, or lower preprocess.validation_size and preprocess.test_size"
    )
    assert not (tmp_path / "metrics.json").exists()
    for remedy in REMEDIES:
        process(tmp_path, rows, **{"containment": "group"} | remedy)
        assert read_json(tmp_path / "metrics.json")["rows"]["test"] == (120 if "containment" in remedy else 12)


def test_raised_similarity_is_a_remedy_where_near_duplicates_form_the_group(tmp_path: Path) -> None:
    rows = [(f"thank you for your order number {number:04}, we hope that you like it", LABELS[number % 2]) for number in range(500)]
    rows += UNLIKE
    with pytest.raises(GroupsTooLarge, match=r"raise preprocess\.near_duplicates, or lower"):
        process(tmp_path, rows, near_duplicates=0.7)
    metrics, _ = process(tmp_path, rows, near_duplicates=0.99)
    assert metrics["rows"]["test"] == 108
