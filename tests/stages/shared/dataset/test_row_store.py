"""Rows are dropped, grouped and split, and the counts match those of published data sets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.shared.dataset.duplicates import KEYS
from stages.shared.dataset.row_store import Entry, RowStore, open_row_store
from stages.shared.dataset.summary import Summary
from stages.shared.sources.source import Source
from stages.shared.sources.tables import ReadOptions

UCI = ("uci/amazon_cells_labelled.txt", "uci/imdb_labelled.txt", "uci/yelp_labelled.txt")


def add(store: RowStore, files: list[Path], origin: str, key: Callable[[str], str]) -> None:
    """Add the rows of files without cleaning."""
    for file in files:
        known = ReadOptions(str.isdigit)
        rows = Source(file, known, optional=False).rows()
        store.add(
            Entry(
                origin, file.name, row.line, row.text, int(row.label), None if row.text.strip() else "empty", row.label, key(row.text), ""
            )
            for row in rows
        )


# data: rows, empty rows, conflicting rows by the key ws, rows left, and conflicting rows by the keys exact, nfkc and alnum.
# A text without letters and digits has no alnum key and no duplicates: 2 rows of sst2, 262 and 73 of nsmc.
COUNTS = {
    "sst2 train": (["sst2/train.tsv"], 67_349, 0, 10, 66_973, (10, 10, 320 - 2)),
    "sst2 dev": (["sst2/dev.tsv"], 872, 0, 0, 872, (0, 0, 0)),
    "nsmc train": (["nsmc/ratings_train.txt"], 150_000, 5, 1_451, 146_025, (1_451, 1_480, 2_701 - 262)),
    "nsmc test": (["nsmc/ratings_test.txt"], 50_000, 3, 306, 49_110, (306, 316, 552 - 73)),
    "nsmc": (["nsmc/ratings_train.txt", "nsmc/ratings_test.txt"], 200_000, 8, 2_173, 194_322, None),
    "uci": (list(UCI), 3_000, 0, 0, 2_982, (0, 0, 0)),
}


@pytest.mark.parametrize(("files", "rows", "empty", "conflicting", "clean", "others"), COUNTS.values(), ids=COUNTS)
def test_duplicates_and_conflicts_of_published_data_match_their_known_counts(shared_data, files, rows, empty, conflicting, clean, others):
    for name, expected in zip(("ws", "exact", "nfkc", "alnum"), (conflicting, *(others or ())), strict=False):
        with open_row_store() as store:
            add(store, [shared_data / file for file in files], "source", KEYS[name])
            store.drop_conflicting("drop")
            store.drop_duplicates()
            dropped = Summary(store.database).dropped()
            assert (dropped["empty"], dropped["conflicting"]) == (empty, expected)
            assert Summary(store.database).kept() + sum(dropped.values()) == rows
            assert name != "ws" or Summary(store.database).kept() == clean


@pytest.mark.parametrize(
    ("file", "left", "classes"), [("sst2/train.tsv", 66_978, (29_647, 37_331)), ("nsmc/ratings_test.txt", 49_157, (24_446, 24_711))]
)
def test_keep_first_keeps_the_first_row_of_each_text(shared_data, file, left, classes):
    with open_row_store() as store:
        add(store, [shared_data / file], "source", KEYS["ws"])
        store.drop_conflicting("keep_first")
        store.drop_duplicates()
        assert Summary(store.database).kept() == left
        assert tuple(sum(label == number for _, label in list(Summary(store.database).texts_of(None))) for number in (0, 1)) == classes


def test_texts_of_a_supplied_test_file_are_removed_from_train(shared_data):
    with open_row_store() as store:
        add(store, [shared_data / "nsmc/ratings_train.txt"], "source", KEYS["ws"])
        add(store, [shared_data / "nsmc/ratings_test.txt"], "test", KEYS["ws"])
        store.drop_conflicting("drop")
        store.drop_duplicates()
        store.drop_leaked()
        assert (Summary(store.database).kept(), Summary(store.database).kept("test")) == (145_315, 49_997)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [("drop", []), ("majority", [("twice good", 1)]), ("keep_first", [("even", 0), ("twice good", 0)])],
)
def test_conflicts_are_resolved_by_the_rule(rule, kept):
    rows = [("even", 0), ("twice good", 0), ("even", 1), ("twice good", 1), ("twice good", 1)]
    with open_row_store() as store:
        store.add(Entry("source", "a.csv", line, text, label, None, "", text, "") for line, (text, label) in enumerate(rows))
        store.drop_conflicting(rule)
        store.drop_duplicates()
        assert list(Summary(store.database).texts_of(None)) == kept
        assert Summary(store.database).kept() + sum(Summary(store.database).dropped().values()) == len(rows)


def test_texts_without_a_key_have_no_duplicates():
    with open_row_store() as store:
        store.add(Entry("source", "a.csv", line, text, line % 2, None, "", "", "") for line, text in enumerate([":)", ":)", "!?"]))
        store.drop_conflicting("drop")
        store.drop_duplicates()
        assert Summary(store.database).kept() == 3
        assert len(store.groups().labels) == 3


@pytest.mark.parametrize("name", ["SENTIMENT_PREPROCESS_MEMORY", "PREPROCESS_MEMORY"], ids=["new name", "old name"])
def test_the_memory_limit_comes_from_the_environment(monkeypatch, name):
    monkeypatch.setenv(name, "300MB")
    with open_row_store() as store:
        (limit,) = store.database.execute("SELECT current_setting('memory_limit')").fetchone()
    assert limit.startswith("286"), "in mebibytes"
