"""Queries of a row store for the report and the metrics: counts, examples and texts.

In: the database of a RowStore. Out: numbers and a few rows. Nothing here changes a row.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.shared.dataset.row_store import CHUNK_ROWS, KEPT, scalar
from stages.shared.splits import SPLITS

if TYPE_CHECKING:
    import duckdb

REASONS = ("empty", "corrected", "ignored_label", "several_labels", "conflicting", "duplicate", "leaked", "sampled_out")
BOTH_KEPT = "a.reason IS NULL AND b.reason IS NULL"  # the rows a and b of a pair


class Leaked(NamedTuple):
    """How many rows of the source were dropped because of a supplied file's text.

    same: it is the same text. near: it is a near duplicate. contained: one of the two contains the other.
    """

    same: int
    near: int
    contained: int


class NearDuplicates(NamedTuple):
    """How many pairs of near duplicates share a split, and how many of these pairs have two labels."""

    pairs: int
    conflicting_pairs: int


class Summary:
    """The queries of a row store, one method each."""

    def __init__(self, database: "duckdb.DuckDBPyConnection") -> None:
        self._database = database

    def kept(self, origin: str = "source") -> int:
        """Count the kept rows."""
        return self._count(f"origin = '{origin}' AND reason IS NULL")

    def dropped(self, origin: str = "source") -> dict[str, int]:
        """Count the dropped rows by reason."""
        found = dict(self._database.execute("SELECT reason, count(*) FROM rows WHERE origin = ? GROUP BY reason", [origin]).fetchall())
        return {reason: found.get(reason, 0) for reason in REASONS}

    def classes(self) -> dict[tuple[str, int], int]:
        """Count the rows of each split and class id."""
        return {
            (split, label): count for split, label, count in self._rows("SELECT part, label, count(*) FROM placed GROUP BY part, label")
        }

    def near_duplicates(self) -> NearDuplicates:
        ((pairs, conflicting),) = self._rows(
            "SELECT count(*), count(*) FILTER (a.label <> b.label) FROM links JOIN rows AS a ON a.number = one "
            f"JOIN rows AS b ON b.number = other WHERE kind = 'near' AND {BOTH_KEPT} AND a.origin = b.origin"
        )
        return NearDuplicates(pairs, conflicting)

    def contained(self) -> dict[str, float]:
        """Return the share of the validation and of the test texts that stand inside a train text, or contain one."""
        found = dict(
            self._rows(
                "SELECT a.part, count(DISTINCT a.number) FROM linked JOIN parts AS a ON a.number = one JOIN parts AS b ON b.number = other "
                "WHERE kind = 'contained' AND a.part <> 'train' AND b.part = 'train' GROUP BY a.part"
            )
        )
        totals = dict(self._rows("SELECT part, count(*) FROM parts GROUP BY part"))
        return {split: found.get(split, 0) / max(1, totals.get(split, 0)) for split in SPLITS[1:]}

    def largest_group(self) -> int:
        """Count the rows of the largest group. RowStore.groups must have run before."""
        return int(scalar(self._database, "SELECT coalesce(max(size), 0) FROM classes"))

    def in_validation_and_test(self) -> int:
        """Count the rows of the supplied validation file whose text is also in the supplied test file."""
        return self._count(
            "origin = 'validation' AND reason IS NULL AND key <> '' "
            "AND key IN (SELECT key FROM rows WHERE origin = 'test' AND reason IS NULL)"
        )

    def near_in_validation_and_test(self) -> int:
        """Count the pairs of near duplicates with a row in each supplied file."""
        return int(
            scalar(
                self._database,
                "SELECT count(*) FROM links JOIN rows AS a ON a.number = one JOIN rows AS b ON b.number = other "
                f"WHERE kind = 'near' AND {BOTH_KEPT} AND a.origin <> b.origin",
            )
        )

    def leaked_rows(self) -> Leaked:
        """Count the rows of the source that were dropped because of a supplied file's text."""
        same = "key IN (SELECT key FROM rows WHERE origin <> 'source' AND reason IS NULL)"
        near = "number IN (SELECT one FROM linked JOIN rows AS b ON b.number = other WHERE kind = 'near' AND b.origin <> 'source')"
        leaked = "origin = 'source' AND reason = 'leaked'"
        return Leaked(
            self._count(f"{leaked} AND {same}"),
            self._count(f"{leaked} AND NOT {same} AND {near}"),
            self._count(f"{leaked} AND NOT {same} AND NOT {near}"),
        )

    def shared_persons(self) -> int:
        """Count the persons of the source who also speak in a supplied file."""
        return self._count(
            f"{KEPT} AND person <> '' AND person IN (SELECT person FROM rows WHERE origin <> 'source' AND reason IS NULL)",
            "DISTINCT person",
        )

    def with_lost_characters(self) -> int:
        """Count the rows with U+FFFD, which replaces a character that did not decode."""
        return self._count("reason IS NULL AND contains(text, '\ufffd')")

    def mean_length(self) -> int:
        """Return the mean number of characters of a text, rounded up."""
        return math.ceil(scalar(self._database, "SELECT avg(length(text)) FROM rows WHERE reason IS NULL"))

    def dropped_rows(self, count: int) -> list[tuple[str, int, str, int | None]]:
        """Return up to `count` dropped rows of the source for each reason: reason, line, text, label."""
        return self._rows(
            "SELECT reason, line, text, label FROM rows WHERE origin = 'source' AND reason IS NOT NULL AND reason <> 'sampled_out' "
            f"QUALIFY row_number() OVER (PARTITION BY reason ORDER BY number) <= {count} ORDER BY reason, number"
        )

    def conflicts(self, count: int) -> list[tuple[str, dict[int, int]]]:
        """Return texts of the source with several labels, those of most rows first, and how many rows have each label."""
        found = self._rows(
            f"""
            WITH votes AS (
                SELECT key, label, count(*) AS votes, min(number) AS first, arg_min(text, number) AS text FROM rows
                WHERE origin = 'source' AND key <> '' AND label IS NOT NULL GROUP BY key, label
            )
            SELECT arg_min(text, first), list(label ORDER BY label), list(votes ORDER BY label) FROM votes GROUP BY key
            HAVING count(*) > 1 ORDER BY sum(votes) DESC, min(first) LIMIT {count}
            """
        )
        return [(text, dict(zip(labels, votes, strict=True))) for text, labels, votes in found]

    def most_repeated(self, count: int) -> list[tuple[str, int]]:
        """Return the texts with most rows in the source, and the number of rows."""
        return self._rows(
            "SELECT arg_min(text, number), count(*) FROM rows WHERE origin = 'source' AND key <> '' GROUP BY key "
            f"HAVING count(*) > 1 ORDER BY count(*) DESC, min(number) LIMIT {count}"
        )

    def near_duplicate_pairs(self, count: int) -> list[tuple[str, int, str, int]]:
        """Return pairs of near duplicates, those with two labels first: text and label of both."""
        return self._rows(
            "SELECT a.text, a.label, b.text, b.label FROM links JOIN rows AS a ON a.number = one JOIN rows AS b ON b.number = other "
            f"WHERE kind = 'near' AND {BOTH_KEPT} ORDER BY a.label = b.label, one, other LIMIT {count}"
        )

    def contained_pairs(self, count: int) -> list[tuple[str, str, str, str]]:
        """Return validation and test texts with a train text that contains them, or the reverse: text and split of both."""
        return self._rows(
            "SELECT a.text, a.part, b.text, b.part FROM links JOIN placed AS a ON a.number = one JOIN placed AS b ON b.number = other "
            f"WHERE kind = 'contained' AND a.part <> b.part AND 'train' IN (a.part, b.part) ORDER BY one, other LIMIT {count}"
        )

    def leaked(self, count: int) -> list[tuple[int, str, int]]:
        """Return rows of the source that a supplied file has too, or nearly: line, text, label."""
        return self._rows(f"SELECT line, text, label FROM rows WHERE origin = 'source' AND reason = 'leaked' ORDER BY number LIMIT {count}")

    def texts_of(self, split: str | None, at_most: int | None = None) -> Iterator[tuple[str, int]]:
        """Yield texts and labels of a split, or of all rows that are left (None).

        at_most: the number of texts to yield, evenly spread; None: all.
        """
        kept = "rows WHERE reason IS NULL" if split is None else f"placed WHERE part = '{split}'"
        total = scalar(self._database, f"SELECT count(*) FROM {kept}")
        step = 1 if at_most is None else max(1, math.ceil(total / at_most))
        rows = self._database.cursor().execute(
            f"SELECT text, label FROM {kept} QUALIFY row_number() OVER (ORDER BY number) % {step} = 0 ORDER BY number"
        )
        while chunk := rows.fetchmany(CHUNK_ROWS):
            yield from chunk

    def _count(self, condition: str, counted: str = "*") -> int:
        return int(scalar(self._database, f"SELECT count({counted}) FROM rows WHERE {condition}"))

    def _rows(self, query: str) -> list[Any]:
        return self._database.execute(query).fetchall()
