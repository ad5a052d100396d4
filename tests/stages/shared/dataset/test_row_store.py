"""Rows are dropped, grouped and split as the counts of published data sets say they must be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.preprocess import PreprocessParams
from stages.shared.dataset.duplicates import KEYS, ws
from stages.shared.dataset.labels import Labels
from stages.shared.dataset.row_store import Entry, RowStore, open_row_store
from stages.shared.sources.rows import ReadOptions
from stages.shared.sources.source import Source
from tests.stages.test_preprocess import PARAMS

UCI = ("uci/amazon_cells_labelled.txt", "uci/imdb_labelled.txt", "uci/yelp_labelled.txt")


def add(corpus: RowStore, files: list[Path], origin: str, key: Callable[[str], str]) -> None:
    """Take in files as they are, without cleaning."""
    for file in files:
        known = ReadOptions(str.isdigit)
        rows = Source(file, known, optional=False).rows()
        corpus.add(
            Entry(
                origin, file.name, row.line, row.text, int(row.label), None if row.text.strip() else "empty", row.label, key(row.text), ""
            )
            for row in rows
        )


# data: rows, empty, conflicting rows by key ws, rows left; and conflicting rows by the keys exact, nfkc, alnum. Without letter or digit
# a text has no alnum key and is like no other: 2 rows of sst2, 262 and 73 of nsmc.
COUNTS = {
    "sst2 train": (["sst2/train.tsv"], 67_349, 0, 10, 66_973, (10, 10, 320 - 2)),
    "sst2 dev": (["sst2/dev.tsv"], 872, 0, 0, 872, (0, 0, 0)),
    "nsmc train": (["nsmc/ratings_train.txt"], 150_000, 5, 1_451, 146_025, (1_451, 1_480, 2_701 - 262)),
    "nsmc test": (["nsmc/ratings_test.txt"], 50_000, 3, 306, 49_110, (306, 316, 552 - 73)),
    "nsmc": (["nsmc/ratings_train.txt", "nsmc/ratings_test.txt"], 200_000, 8, 2_173, 194_322, None),
    "uci": (list(UCI), 3_000, 0, 0, 2_982, (0, 0, 0)),
}


@pytest.mark.parametrize(("files", "rows", "empty", "conflicting", "clean", "others"), COUNTS.values(), ids=COUNTS)
def test_duplicates_and_conflicts_of_published_data_are_those_counted(shared_data, files, rows, empty, conflicting, clean, others):
    for name, expected in zip(("ws", "exact", "nfkc", "alnum"), (conflicting, *(others or ())), strict=False):
        with open_row_store() as corpus:
            add(corpus, [shared_data / file for file in files], "source", KEYS[name])
            corpus.drop_conflicting("drop")
            corpus.drop_duplicates()
            dropped = corpus.dropped()
            assert (dropped["empty"], dropped["conflicting"]) == (empty, expected)
            assert corpus.kept() + sum(dropped.values()) == rows
            assert name != "ws" or corpus.kept() == clean


@pytest.mark.parametrize(
    ("file", "left", "classes"), [("sst2/train.tsv", 66_978, (29_647, 37_331)), ("nsmc/ratings_test.txt", 49_157, (24_446, 24_711))]
)
def test_the_first_row_of_each_text_may_stay_whatever_the_others_say(shared_data, file, left, classes):
    with open_row_store() as corpus:
        add(corpus, [shared_data / file], "source", KEYS["ws"])
        corpus.drop_conflicting("keep_first")
        corpus.drop_duplicates()
        assert corpus.kept() == left
        assert tuple(sum(label == number for _, label in list(corpus.texts_of(None))) for number in (0, 1)) == classes


def test_texts_of_a_supplied_test_file_are_taken_out_of_train(shared_data):
    with open_row_store() as corpus:
        add(corpus, [shared_data / "nsmc/ratings_train.txt"], "source", KEYS["ws"])
        add(corpus, [shared_data / "nsmc/ratings_test.txt"], "test", KEYS["ws"])
        corpus.drop_conflicting("drop")
        corpus.drop_duplicates()
        corpus.drop_leaked()
        assert (corpus.kept(), corpus.kept("test")) == (145_315, 49_997)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [("drop", []), ("majority", [("twice good", 1)]), ("keep_first", [("even", 0), ("twice good", 0)])],
)
def test_conflicts_are_settled_by_the_rule(rule, kept):
    rows = [("even", 0), ("twice good", 0), ("even", 1), ("twice good", 1), ("twice good", 1)]
    with open_row_store() as corpus:
        corpus.add(Entry("source", "a.csv", line, text, label, None, "", text, "") for line, (text, label) in enumerate(rows))
        corpus.drop_conflicting(rule)
        corpus.drop_duplicates()
        assert list(corpus.texts_of(None)) == kept
        assert corpus.kept() + sum(corpus.dropped().values()) == len(rows)


def test_texts_without_a_key_are_like_no_other():
    with open_row_store() as corpus:
        corpus.add(Entry("source", "a.csv", line, text, line % 2, None, "", "", "") for line, text in enumerate([":)", ":)", "!?"]))
        corpus.drop_conflicting("drop")
        corpus.drop_duplicates()
        assert corpus.kept() == 3
        assert len(corpus.groups().labels) == 3


NEGATIVE = {"anger", "disgust", "fear", "sadness"}
REDUCTIONS = {
    "28 labels": (lambda group, name: name, set(), (36_308, 36_110, 4_548, 4_544, 4_590, 4_583)),
    "ekman": (lambda group, name: group, set(), (39_555, 39_363, 4_946, 4_943, 4_968, 4_962)),
    "three classes": (
        lambda group, name: {"joy": "positive", "neutral": "neutral"}.get(group, "negative" if group in NEGATIVE else None),
        {"surprise"},
        (36_172, 35_999, 4_547, 4_544, 4_539, 4_533),
    ),
}


@pytest.mark.parametrize(("class_of", "ignored", "expected"), REDUCTIONS.values(), ids=REDUCTIONS)
def test_emotions_are_reduced_to_classes_and_rows_of_several_are_dropped(shared_data, class_of, ignored, expected):
    names = (shared_data / "goemotions/labels.txt").read_text("utf-8").split()
    groups = json.loads((shared_data / "goemotions/ekman_mapping.json").read_text("utf-8"))
    group_of = {name: group for group, members in groups.items() for name in members} | {"neutral": "neutral"}
    classes = {name: class_of(group_of[name], name) for name in names}
    values: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        values.setdefault(classes[name] or "", []).append(str(number))
    ignore = values.pop("", [])
    assert {group_of[names[int(number)]] for number in ignore} == ignored
    settings = PreprocessParams(
        **PARAMS | {"labels": list(values), "label_values": list(values.values()), "label_separator": ",", "ignore_labels": ignore}
    )
    found = []
    for part in ("train", "dev", "test"):
        labels = Labels(settings)
        with open_row_store() as corpus:
            source = Source(shared_data / f"goemotions/{part}.tsv", ReadOptions(labels.knows), optional=False)
            corpus.add(
                Entry(
                    "source",
                    "a.tsv",
                    row.line,
                    row.text,
                    *labels.verdict(row.label, source.file, row.line),
                    row.label,
                    key=ws(row.text),
                    person="",
                )
                for row in source.rows()
            )
            found.append(corpus.kept())
            corpus.drop_conflicting("drop")
            corpus.drop_duplicates()
            found.append(corpus.kept())
    assert tuple(found) == expected
