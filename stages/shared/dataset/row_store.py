"""The rows of all sources in a temporary database on disk: marked, grouped, split and written in bounded memory.

No row is ever removed from it: each has the reason why it was dropped, or none, so that the counts add up.
"""

import csv
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.shared.dataset.duplicates import LONGEST
from stages.shared.dataset.near_duplicates import near_pairs
from stages.shared.dataset.splitting import Groups
from stages.shared.errors import StageError
from stages.shared.splits import SPLITS
from stages.shared.spreadsheet import escape_formula

if TYPE_CHECKING:
    import duckdb

REASONS = ("empty", "corrected", "ignored_label", "several_labels", "conflicting", "duplicate", "leaked", "sampled_out")
Conflicts = Literal["drop", "majority", "keep_first"]
CHUNK_ROWS = 20_000  # that are taken in and written at a time
MANY = 5 * CHUNK_ROWS  # rows from which a bar is drawn
MEMORY = "PREPROCESS_MEMORY"  # environment variable: what the database may take, e.g. 500MB
KEPT = "origin = 'source' AND reason IS NULL"

# The label that wins where one text has several; none where all its rows go.
WINNERS: dict[str, str] = {
    "drop": "NULL",
    "keep_first": "arg_min(label, first)",
    "majority": "CASE WHEN count(*) FILTER (votes = most) = 1 THEN arg_max(label, votes) END",
}


class Entry(NamedTuple):
    """A row as it is taken in. origin: source, validation or test. file: its name. label: class id.

    reason: why the row is dropped already. given: the label as it was read. key: texts with the same are one; empty: like no other.
    person: whose rows stay on one side of the split.
    """

    origin: str
    file: str
    line: int
    text: str
    label: int | None
    reason: str | None
    given: str
    key: str
    person: str


@contextmanager
def open_row_store() -> "Iterator[RowStore]":
    """Give an empty corpus, which is gone after the block."""
    import duckdb

    memory = os.environ.get(MEMORY, "1GB")
    with _temporary_folder() as folder:
        settings: dict[str, Any] = {"memory_limit": memory, "temp_directory": f"{folder}/spilled", "preserve_insertion_order": False}
        try:
            database = duckdb.connect(f"{folder}/rows.duckdb", config=settings)
        except duckdb.Error as error:
            raise StageError(f"{MEMORY} is {memory!r} ({str(error).splitlines()[0]}): set it to a size, e.g. 500MB") from None
        try:
            with database:
                yield RowStore(database)
        except duckdb.OutOfMemoryException as error:
            raise StageError(f"{MEMORY} is {memory!r}, which is not enough ({str(error).splitlines()[0]}): raise it") from None


def _temporary_folder() -> "TemporaryDirectory[str]":
    try:
        return TemporaryDirectory(prefix="preprocess-")
    except OSError as error:
        raise StageError(f"no folder for temporary files can be written to ({error}): free space, or name another in TMPDIR") from None


class RowStore:
    """The rows of all sources. Each method that drops returns nothing: `dropped` counts by reason."""

    def __init__(self, database: "duckdb.DuckDBPyConnection") -> None:
        self._database = database
        database.execute(
            "CREATE TABLE rows (number BIGINT, origin VARCHAR, file VARCHAR, line BIGINT, text VARCHAR, label SMALLINT, given VARCHAR, "
            "key VARCHAR, person VARCHAR, reason VARCHAR, "
            "name VARCHAR GENERATED ALWAYS AS (coalesce(nullif(person, ''), nullif(key, ''), concat('row ', number))))"
        )
        database.execute("CREATE TABLE near (one BIGINT, other BIGINT)")
        self._count = 0

    def add(self, entries: Iterable[Entry]) -> int:
        """Take rows in and return how many."""
        import pyarrow as pa

        before, rest = self._count, iter(entries)
        while chunk := list(islice(rest, CHUNK_ROWS)):
            numbers = range(self._count, self._count + len(chunk))
            columns: dict[str, Any] = dict(zip(Entry._fields, zip(*chunk, strict=True), strict=True))
            types = {"line": pa.int64(), "label": pa.int16()}
            table = pa.table(
                {"number": pa.array(numbers)} | {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
            )
            self._database.register("chunk", table)
            self._database.execute("INSERT INTO rows BY NAME SELECT * FROM chunk")
            self._database.unregister("chunk")
            self._count += len(chunk)
        return self._count - before

    def drop_conflicting(self, rule: Conflicts) -> None:
        """Drop rows of texts with several labels: all, those with another than the most frequent, or than the first."""
        self._database.execute(
            f"""
            WITH votes AS (
                SELECT key, label, count(*) AS votes, min(number) AS first FROM rows WHERE {KEPT} AND key <> '' GROUP BY key, label
            ), several AS (
                SELECT *, max(votes) OVER (PARTITION BY key) AS most FROM votes QUALIFY count(*) OVER (PARTITION BY key) > 1
            ), verdicts AS (SELECT key, {WINNERS[rule]} AS winner FROM several GROUP BY key)
            UPDATE rows SET reason = 'conflicting' FROM verdicts WHERE {KEPT} AND rows.key = verdicts.key AND label IS DISTINCT FROM winner
            """
        )

    def drop_duplicates(self) -> None:
        """Drop all but the first row of each text."""
        self._database.execute(
            f"""
            WITH firsts AS (SELECT key, min(number) AS first FROM rows WHERE {KEPT} AND key <> '' GROUP BY key HAVING count(*) > 1)
            UPDATE rows SET reason = 'duplicate' FROM firsts WHERE {KEPT} AND rows.key = firsts.key AND number > first
            """
        )

    def drop_leaked(self) -> None:
        """Drop rows of the source whose text is also in a supplied test or validation file, which stay as they are."""
        self._database.execute(
            f"""
            UPDATE rows SET reason = 'leaked' WHERE {KEPT} AND key <> ''
            AND key IN (SELECT key FROM rows WHERE origin <> 'source' AND reason IS NULL)
            """
        )

    def in_both(self) -> int:
        """Count the rows of the supplied validation file whose text is in the supplied test file too."""
        return int(
            self._one(
                "SELECT count(*) FROM rows WHERE origin = 'validation' AND reason IS NULL AND key <> '' "
                "AND key IN (SELECT key FROM rows WHERE origin = 'test' AND reason IS NULL)"
            )
        )

    def find_near(self, threshold: float) -> None:
        """Find rows whose texts differ in little, and drop those of the source that are so near to a supplied file's."""
        import pyarrow as pa

        kept = self._database.cursor()
        numbers = kept.execute("SELECT number FROM rows WHERE reason IS NULL AND key <> '' ORDER BY number").fetchnumpy()["number"]

        def chunks() -> Iterator[list[str]]:
            rows = kept.execute("SELECT key FROM rows WHERE reason IS NULL AND key <> '' ORDER BY number")
            with tqdm(
                total=len(numbers), desc="near duplicates", unit=" rows", disable=len(numbers) < MANY or not sys.stderr.isatty()
            ) as bar:
                while chunk := rows.fetchmany(CHUNK_ROWS):
                    yield [key[:LONGEST] for (key,) in chunk]
                    bar.update(len(chunk))

        def keys_at(places: NDArray[np.int64]) -> list[str]:
            self._database.register("wanted", pa.table({"number": numbers[places]}))
            return [
                key[:LONGEST]
                for (key,) in self._database.execute("SELECT key FROM rows JOIN wanted USING (number) ORDER BY number").fetchall()
            ]

        pairs = np.array(list(near_pairs(chunks(), threshold, keys_at)), dtype=np.int64).reshape(-1, 2)
        self._database.register("found", pa.table({"one": numbers[pairs[:, 0]], "other": numbers[pairs[:, 1]]}))
        self._database.execute("INSERT INTO near SELECT * FROM found")
        self._database.unregister("found")
        self._database.execute(
            f"""
            WITH links AS (SELECT one, other FROM near UNION ALL SELECT other, one FROM near)
            UPDATE rows SET reason = 'leaked' WHERE {KEPT} AND number IN (
                SELECT one FROM links JOIN rows AS supplied ON supplied.number = links.other WHERE supplied.origin <> 'source'
            )
            """
        )

    def shared_persons(self) -> int:
        """Count the persons of the source that speak in a supplied file too."""
        return int(
            self._one(
                f"SELECT count(DISTINCT person) FROM rows WHERE {KEPT} AND person <> '' "
                "AND person IN (SELECT person FROM rows WHERE origin <> 'source' AND reason IS NULL)"
            )
        )

    def damaged(self) -> int:
        """Count the rows that hold the sign of a character that was lost when the text was decoded."""
        return int(self._one("SELECT count(*) FROM rows WHERE reason IS NULL AND contains(text, '\ufffd')"))

    def near_counts(self) -> dict[str, int]:
        """Count the pairs of near duplicates among the rows that are left, and those of them with two labels."""
        pairs, conflicting = self._row(
            "SELECT count(*), count(*) FILTER (a.label <> b.label) FROM near "
            "JOIN rows AS a ON a.number = one JOIN rows AS b ON b.number = other WHERE a.reason IS NULL AND b.reason IS NULL"
        )
        return {"pairs": pairs, "conflicting_pairs": conflicting}

    def sample(self, max_rows: int, seed: int) -> None:
        """Keep at most so many rows of the source (0: all), each class by its share, whatever the order of the rows."""
        self._database.execute(
            f"""
            WITH placed AS (
                SELECT number, (row_number() OVER shuffled - 0.5) / count(*) OVER (PARTITION BY label) AS place, label
                FROM rows WHERE {KEPT} WINDOW shuffled AS (PARTITION BY label ORDER BY md5(concat({seed}, '/', text)), number)
            ), chosen AS (SELECT number FROM placed ORDER BY place, label OFFSET {max_rows or self._count})
            UPDATE rows SET reason = 'sampled_out' FROM chosen WHERE rows.number = chosen.number
            """
        )

    def dropped(self, origin: str = "source") -> dict[str, int]:
        """Count the dropped rows by reason."""
        found = dict(self._database.execute("SELECT reason, count(*) FROM rows WHERE origin = ? GROUP BY reason", [origin]).fetchall())
        return {reason: found.get(reason, 0) for reason in REASONS}

    def kept(self, origin: str = "source") -> int:
        """Count the rows that are left."""
        return int(self._one(f"SELECT count(*) FROM rows WHERE origin = '{origin}' AND reason IS NULL"))

    def mean_length(self) -> int:
        """Return the characters of a text, on average and at least 1."""
        return math.ceil(self._one("SELECT avg(length(text)) FROM rows WHERE reason IS NULL"))

    def groups(self) -> "Groups":
        """Return the groups of the rows that are left, each of which stays on one side: a person's, or else those of like texts."""
        self._database.execute(
            f"""
            CREATE TABLE groups AS SELECT row_number() OVER (ORDER BY name) - 1 AS number, name
            FROM (SELECT DISTINCT name FROM rows WHERE {KEPT})
            """
        )
        if self._one("SELECT count(*) FROM near"):
            self._join_near()
        self._database.execute(
            f"""
            CREATE TABLE classes AS SELECT groups.number, list_sort(list(DISTINCT label)) AS labels, count(*) AS size
            FROM rows JOIN groups USING (name) WHERE {KEPT} GROUP BY groups.number
            """
        )
        alone = self._database.execute("SELECT number, labels[1] AS label FROM classes WHERE len(labels) = 1 ORDER BY number").fetchnumpy()
        mixed = self._database.execute("SELECT number, labels FROM classes WHERE len(labels) > 1 ORDER BY number").fetchall()
        sizes = self._database.execute("SELECT size FROM classes ORDER BY number").fetchnumpy()["size"]
        return Groups(np.asarray(alone["number"]), np.asarray(alone["label"]), dict(mixed), np.asarray(sizes))

    def largest_group(self) -> int:
        """Count the rows of the largest of the groups, which were asked for before."""
        return int(self._one("SELECT coalesce(max(size), 0) FROM classes"))

    def _join_near(self) -> None:
        """Join the groups that hold near duplicates of one another."""
        import pyarrow as pa
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pairs = self._database.execute(
            f"""
            WITH left_over AS (SELECT rows.number, groups.number AS place FROM rows JOIN groups USING (name) WHERE {KEPT})
            SELECT a.place AS one, b.place AS other FROM near
            JOIN left_over AS a ON a.number = near.one JOIN left_over AS b ON b.number = near.other
            """
        ).fetchnumpy()
        count = self._one("SELECT count(*) FROM groups")
        edges = coo_array((np.ones(len(pairs["one"]), dtype=bool), (pairs["one"], pairs["other"])), shape=(count, count))
        _, components = connected_components(edges, directed=False)
        self._database.register("joined", pa.table({"number": np.arange(count), "component": components}))
        self._database.execute("UPDATE groups SET number = component FROM joined WHERE groups.number = joined.number")
        self._database.unregister("joined")

    def split(self, parts: NDArray[np.uint8]) -> None:
        """Give each row the split of its group, by the group's number; and the rows of supplied files theirs."""
        import pyarrow as pa

        self._database.register("assigned", pa.table({"number": np.arange(len(parts)), "part": pa.array(parts)}))
        names = ", ".join(f"'{name}'" for name in SPLITS)
        self._database.execute(  # beside the rows, whose texts would have to be copied if they had a column more
            f"""
            CREATE TABLE parts AS SELECT rows.number, CASE WHEN origin <> 'source' THEN origin ELSE [{names}][assigned.part + 1] END AS part
            FROM rows LEFT JOIN groups USING (name) LEFT JOIN assigned ON assigned.number = groups.number WHERE reason IS NULL
            """
        )
        self._database.unregister("assigned")
        self._database.execute("CREATE VIEW placed AS SELECT rows.number, text, label, part FROM rows JOIN parts USING (number)")

    def classes(self) -> dict[tuple[str, int], int]:
        """Count the rows of each split and class."""
        found = self._database.execute("SELECT part, label, count(*) FROM placed GROUP BY part, label").fetchall()
        return {(part, label): count for part, label, count in found}

    def examples(self, count: int) -> list[tuple[str, int, str, int | None]]:
        """Return some dropped rows of the source of each reason: reason, line, text, label."""
        return self._rows(
            "SELECT reason, line, text, label FROM rows WHERE origin = 'source' AND reason IS NOT NULL AND reason <> 'sampled_out' "
            f"QUALIFY row_number() OVER (PARTITION BY reason ORDER BY number) <= {count} ORDER BY reason, number"
        )

    def conflicts(self, count: int) -> list[tuple[str, dict[int, int]]]:
        """Return texts of the source with several labels, those of most rows first, with the rows of each label."""
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

    def repeated(self, count: int) -> list[tuple[str, int]]:
        """Return the texts of the source that stand there most often, with the number of rows."""
        return self._rows(
            "SELECT arg_min(text, number), count(*) FROM rows WHERE origin = 'source' AND key <> '' GROUP BY key "
            f"HAVING count(*) > 1 ORDER BY count(*) DESC, min(number) LIMIT {count}"
        )

    def alike(self, count: int) -> list[tuple[str, int, str, int]]:
        """Return near duplicates, those with two labels first: text and label of both."""
        return self._rows(
            "SELECT a.text, a.label, b.text, b.label FROM near JOIN rows AS a ON a.number = one JOIN rows AS b ON b.number = other "
            f"WHERE a.reason IS NULL AND b.reason IS NULL ORDER BY a.label = b.label, one, other LIMIT {count}"
        )

    def leaked(self, count: int) -> list[tuple[int, str, int]]:
        """Return rows of the source that are in a supplied file too: line, text, label."""
        return self._rows(f"SELECT line, text, label FROM rows WHERE origin = 'source' AND reason = 'leaked' ORDER BY number LIMIT {count}")

    def texts_of(self, part: str | None, at_most: int | None = None) -> Iterator[tuple[str, int]]:
        """Yield texts and labels of a split, or of all rows that are left: all of them, or so many spread evenly."""
        kept = "rows WHERE reason IS NULL" if part is None else f"placed WHERE part = '{part}'"
        total = self._one(f"SELECT count(*) FROM {kept}")
        step = 1 if at_most is None else max(1, math.ceil(total / at_most))
        rows = self._database.cursor().execute(
            f"SELECT text, label FROM {kept} QUALIFY row_number() OVER (ORDER BY number) % {step} = 0 ORDER BY number"
        )
        while chunk := rows.fetchmany(CHUNK_ROWS):
            yield from chunk

    def write(self, part: str, file: Path) -> None:
        """Write a split as CSV, in the order of the source."""
        rows = self._database.execute("SELECT text, label FROM placed WHERE part = ? ORDER BY number", [part])
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(("text", "label"))
            while chunk := rows.fetchmany(CHUNK_ROWS):
                writer.writerows(chunk)

    def write_dropped(self, class_names: Sequence[str], file: Path) -> None:
        """Write the dropped rows, but for those that only max_rows left out, as CSV for a spreadsheet, in the order of the sources."""
        rows = self._database.execute(
            "SELECT file, line, reason, label, given, text FROM rows WHERE reason IS NOT NULL AND reason <> 'sampled_out' ORDER BY number"
        )
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(("file", "line", "reason", "label", "text"))
            while chunk := rows.fetchmany(CHUNK_ROWS):
                for name, line, reason, label, given, text in chunk:
                    shown = given if label is None else class_names[label]
                    writer.writerow((escape_formula(name), line, reason, escape_formula(shown), escape_formula(text)))

    def _one(self, query: str) -> Any:
        return self._row(query)[0]

    def _rows(self, query: str) -> list[Any]:
        return self._database.execute(query).fetchall()

    def _row(self, query: str) -> tuple[Any, ...]:
        (row,) = self._rows(query)
        return tuple(row)
