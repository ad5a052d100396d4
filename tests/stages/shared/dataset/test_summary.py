"""The summary counts every row once and returns the examples that the report shows."""

from collections.abc import Iterator

import pytest

from stages.shared.dataset.row_store import Entry, RowStore, open_row_store
from stages.shared.dataset.summary import Summary

ROWS = [("good", 1, None), ("GOOD", 1, None), ("good", 0, None), ("bad", 0, None), ("", 1, "empty"), ("lost \ufffd", 0, None)]


@pytest.fixture
def store() -> Iterator[RowStore]:
    with open_row_store() as rows:
        rows.add(
            Entry("source", "a.csv", line, text, label, reason, "", text.casefold(), "")
            for line, (text, label, reason) in enumerate(ROWS, 2)
        )
        rows.add([Entry("test", "b.csv", 2, "bad", 0, None, "", "bad", "")])
        yield rows


def test_each_row_is_kept_or_dropped_for_one_reason(store):
    store.drop_conflicting("keep_first")
    store.drop_duplicates()
    store.drop_leaked()
    summary = Summary(store.database)
    dropped = {reason: count for reason, count in summary.dropped().items() if count}
    assert dropped == {"empty": 1, "conflicting": 1, "duplicate": 1, "leaked": 1}
    assert summary.kept() + sum(dropped.values()) == len(ROWS)
    assert (summary.kept("test"), summary.with_lost_characters()) == (1, 1)


def test_examples_name_the_line_in_the_file(store):
    store.drop_leaked()
    summary = Summary(store.database)
    assert summary.dropped_rows(1) == [("empty", 6, "", 1), ("leaked", 5, "bad", 0)]
    assert summary.leaked(9) == [(5, "bad", 0)]
    assert summary.conflicts(9) == [("good", {0: 1, 1: 2})]
    assert summary.most_repeated(9) == [("good", 3)]


def test_texts_are_spread_evenly_over_the_rows():
    with open_row_store() as rows:
        rows.add(Entry("source", "a.csv", line, f"text {line}", 0, None, "", f"{line}", "") for line in range(10))
        summary = Summary(rows.database)
        assert [text for text, _ in summary.texts_of(None, 3)] == ["text 3", "text 7"]
        assert len(list(summary.texts_of(None))) == 10
