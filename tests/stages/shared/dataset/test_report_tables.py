"""The tables of the data report: reasons with counts, texts cut for reading, and the words that are typical of a class."""

from collections.abc import Iterator

import numpy as np
import pytest

from stages.shared.dataset.report_tables import CHARACTERS, tables, words
from stages.shared.dataset.row_store import Entry, RowStore, open_row_store
from stages.shared.dataset.summary import Summary
from stages.shared.sources.facts import SourceRead
from stages.shared.sources.tables import SourceFacts

CLASSES = ("negative", "positive")
ROWS = [
    ("good film", 1),
    ("good film", 0),
    ("long " * 100, 1),
    ("lovely film", 1),
    ("lovely staff", 1),
    ("awful film", 0),
    ("awful staff", 0),
]
FILES = {"dropped_file": "dropped.csv", "corrections_file": "corrections.csv"}
SOURCES = {"source": SourceRead(len(ROWS) + 1, "f" * 64, SourceFacts.of_file(encoding="utf-8"))}


@pytest.fixture
def store() -> Iterator[RowStore]:
    with open_row_store() as rows:
        rows.add(Entry("source", "a.csv", line, text, label, None, "", text, "") for line, (text, label) in enumerate(ROWS, 2))
        rows.add([Entry("source", "a.csv", 9, "", None, "empty", "?", "", "")])
        rows.drop_conflicting("drop")
        rows.split(np.zeros(len(rows.groups().sizes), np.uint8))  # all to train
        yield rows


def test_tables_count_and_list_what_was_dropped(store: RowStore) -> None:
    found = {table["title"]: table for table in tables(Summary(store.database), SOURCES, CLASSES, **FILES)}
    reasons = {row[0]: row[1] for row in found["Dropped rows"]["rows"]}
    assert reasons == {"empty": "1", "conflicting": "2"}
    assert ["empty", "9", "(nothing)", "-"] in found["Examples of dropped rows"]["rows"]
    assert found["Conflicting texts"]["rows"] == [["good film", "negative 1, positive 1"]]
    assert found["Near duplicates"]["rows"] == []
    assert ["encoding", "utf-8"] in found["How the files were read"]["rows"]
    assert all(len(row) == len(table["columns"]) for table in found.values() for row in table["rows"])


def test_long_text_is_cut_for_reading(store: RowStore) -> None:
    store.database.execute("UPDATE rows SET reason = 'duplicate' WHERE line = 4")
    found = tables(Summary(store.database), SOURCES, CLASSES, **FILES)[1]
    (text,) = [row[2] for row in found["rows"] if row[0] == "duplicate"]
    assert text == f"{('long ' * 100)[:CHARACTERS]} ..."


def test_words_are_typical_of_the_class_that_has_them(store: RowStore) -> None:
    frequent, negative, positive = words(Summary(store.database), CLASSES)
    assert frequent["title"] == "Most frequent"
    assert negative["words"].startswith("awful")
    assert positive["words"].startswith("lovely")
