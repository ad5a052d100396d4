"""The rows of all sources in a temporary database on disk: marked, grouped, split and written in bounded memory.

In: rows as `Entry`. Out: the CSV files of the splits and of the dropped rows.
A row never leaves the database. It holds the reason why it was dropped, or none, so the counts always add up.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.shared.dataset.splitting import Groups
from stages.shared.environment import read_environment
from stages.shared.errors import StageError, first_line
from stages.shared.splits import SPLIT_COLUMNS, SPLITS
from stages.shared.spreadsheet import escape_formula

if TYPE_CHECKING:
    import duckdb

Conflicts = Literal["drop", "majority", "keep_first"]
CHUNK_ROWS = 20_000  # rows that are added or written at a time
MANY = 5 * CHUNK_ROWS  # rows: a search among more of them shows a progress bar
MEMORY = "SENTIMENT_PREPROCESS_MEMORY"  # environment variable, named in errors
KEPT = "origin = 'source' AND reason IS NULL"

# The label that wins if a text has several; NULL drops all its rows.
WINNERS: dict[str, str] = {
    "drop": "NULL",
    "keep_first": "arg_min(label, first)",
    "majority": "CASE WHEN count(*) FILTER (votes = most) = 1 THEN arg_max(label, votes) END",
}


class Entry(NamedTuple):
    """A row as it enters the store. origin: source, validation or test. file: the name of its file. label: the class id.

    reason: why the row is dropped, if it already is. raw_label: the label in the file, if it has no class id.
    key: texts with equal keys are duplicates; a text with an empty key has none. person: all rows of a person share a split.
    """

    origin: str
    file: str
    line: int
    text: str
    label: int | None
    reason: str | None
    raw_label: str
    key: str
    person: str


@contextmanager
def open_row_store() -> "Iterator[RowStore]":
    """Yield an empty store, and delete it after the block."""
    import duckdb

    memory = read_environment().preprocess_memory
    with _temporary_folder() as folder:
        settings: dict[str, Any] = {"memory_limit": memory, "temp_directory": f"{folder}/spilled", "preserve_insertion_order": False}
        try:
            database = duckdb.connect(f"{folder}/rows.duckdb", config=settings)
        except duckdb.Error as error:
            raise StageError(f"{MEMORY} is {memory!r} ({first_line(error)}): set it to a size, e.g. 500MB") from None
        try:
            with database:
                yield RowStore(database)
        except duckdb.OutOfMemoryException as error:
            raise StageError(f"{MEMORY} is {memory!r}, which is not enough ({first_line(error)}): raise it") from None


def _temporary_folder() -> "TemporaryDirectory[str]":
    try:
        return TemporaryDirectory(prefix="preprocess-")
    except OSError as error:
        raise StageError(f"no folder for temporary files is writable ({error}): free space, or name another folder in TMPDIR") from None


class RowStore:
    """The rows of all sources. `Summary` counts what the methods do to them."""

    def __init__(self, database: "duckdb.DuckDBPyConnection") -> None:
        self.database = database
        database.execute(
            "CREATE TABLE rows (number BIGINT, origin VARCHAR, file VARCHAR, line BIGINT, text VARCHAR, label SMALLINT, raw_label VARCHAR, "
            "key VARCHAR, person VARCHAR, reason VARCHAR, "
            "name VARCHAR GENERATED ALWAYS AS (coalesce(nullif(person, ''), nullif(key, ''), concat('row ', number))))"
        )
        database.execute("CREATE TABLE links (one BIGINT, other BIGINT, kind VARCHAR, together BOOLEAN)")
        database.execute("CREATE VIEW linked AS FROM links UNION ALL SELECT other, one, kind, together FROM links")  # in both directions
        self._count = 0

    def add(self, entries: Iterable[Entry]) -> int:
        """Add rows and return how many."""
        import pyarrow as pa

        before, rest = self._count, iter(entries)
        while chunk := list(islice(rest, CHUNK_ROWS)):
            numbers = range(self._count, self._count + len(chunk))
            columns: dict[str, Any] = dict(zip(Entry._fields, zip(*chunk, strict=True), strict=True))
            types = {"line": pa.int64(), "label": pa.int16()}
            table = pa.table(
                {"number": pa.array(numbers)} | {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
            )
            self.database.register("chunk", table)
            self.database.execute("INSERT INTO rows BY NAME SELECT * FROM chunk")
            self.database.unregister("chunk")
            self._count += len(chunk)
        return self._count - before

    def drop_conflicting(self, rule: Conflicts) -> None:
        """Drop rows of texts with several labels: all of them, or those without the winning label of the rule."""
        self.database.execute(
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
        """Drop all rows of a text but the first."""
        self.database.execute(
            f"""
            WITH firsts AS (SELECT key, min(number) AS first FROM rows WHERE {KEPT} AND key <> '' GROUP BY key HAVING count(*) > 1)
            UPDATE rows SET reason = 'duplicate' FROM firsts WHERE {KEPT} AND rows.key = firsts.key AND number > first
            """
        )

    def drop_leaked(self) -> None:
        """Drop rows of the source whose text is also in a supplied validation or test file. Supplied files keep all their rows."""
        self.database.execute(
            f"""
            UPDATE rows SET reason = 'leaked' WHERE {KEPT} AND key <> ''
            AND key IN (SELECT key FROM rows WHERE origin <> 'source' AND reason IS NULL)
            """
        )

    def sample(self, max_rows: int, seed: int) -> None:
        """Keep at most `max_rows` rows of the source (0: all), stratified by class. The order of the rows does not matter."""
        self.database.execute(
            f"""
            WITH placed AS (
                SELECT number, (row_number() OVER shuffled - 0.5) / count(*) OVER (PARTITION BY label) AS place, label
                FROM rows WHERE {KEPT} WINDOW shuffled AS (PARTITION BY label ORDER BY md5(concat({seed}, '/', text)), number)
            ), chosen AS (SELECT number FROM placed ORDER BY place, label OFFSET {max_rows or self._count})
            UPDATE rows SET reason = 'sampled_out' FROM chosen WHERE rows.number = chosen.number
            """
        )

    def groups(self) -> Groups:
        """Return the groups of the rows that are left: the rows of one person, or of one text and the texts that are linked with it."""
        self.database.execute(
            f"""
            CREATE TABLE groups AS SELECT row_number() OVER (ORDER BY name) - 1 AS number, name
            FROM (SELECT DISTINCT name FROM rows WHERE {KEPT})
            """
        )
        if scalar(self.database, "SELECT count(*) FROM links WHERE together"):
            self._join_linked()
        self.database.execute(
            f"""
            CREATE TABLE classes AS SELECT groups.number, list_sort(list(DISTINCT label)) AS labels, count(*) AS size
            FROM rows JOIN groups USING (name) WHERE {KEPT} GROUP BY groups.number
            """
        )
        alone = self.database.execute("SELECT number, labels[1] AS label FROM classes WHERE len(labels) = 1 ORDER BY number").fetchnumpy()
        mixed = self.database.execute("SELECT number, labels FROM classes WHERE len(labels) > 1 ORDER BY number").fetchall()
        sizes = self.database.execute("SELECT size FROM classes ORDER BY number").fetchnumpy()["size"]
        return Groups(np.asarray(alone["number"]), np.asarray(alone["label"]), dict(mixed), np.asarray(sizes))

    def _join_linked(self) -> None:
        """Join the groups that hold linked rows."""
        import pyarrow as pa
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pairs = self.database.execute(
            f"""
            WITH left_over AS (SELECT rows.number, groups.number AS place FROM rows JOIN groups USING (name) WHERE {KEPT})
            SELECT a.place AS one, b.place AS other FROM links
            JOIN left_over AS a ON a.number = one JOIN left_over AS b ON b.number = other WHERE together
            """
        ).fetchnumpy()
        count = scalar(self.database, "SELECT count(*) FROM groups")
        edges = coo_array((np.ones(len(pairs["one"]), dtype=bool), (pairs["one"], pairs["other"])), shape=(count, count))
        _, components = connected_components(edges, directed=False)
        self.database.register("joined", pa.table({"number": np.arange(count), "component": components}))
        self.database.execute("UPDATE groups SET number = component FROM joined WHERE groups.number = joined.number")
        self.database.unregister("joined")

    def split(self, positions: NDArray[np.uint8]) -> None:
        """Assign each row of the source to the split of its group, and the rows of a supplied file to the split of that name.

        positions: the position in SPLITS of each group, by the group's number.
        """
        import pyarrow as pa

        self.database.register("assigned", pa.table({"number": np.arange(len(positions)), "part": pa.array(positions)}))
        names = ", ".join(f"'{name}'" for name in SPLITS)
        self.database.execute(  # a separate table: one more column in `rows` would copy all texts
            f"""
            CREATE TABLE parts AS SELECT rows.number, CASE WHEN origin <> 'source' THEN origin ELSE [{names}][assigned.part + 1] END AS part
            FROM rows LEFT JOIN groups USING (name) LEFT JOIN assigned ON assigned.number = groups.number WHERE reason IS NULL
            """
        )
        self.database.unregister("assigned")
        self.database.execute("CREATE VIEW placed AS SELECT rows.number, text, label, part FROM rows JOIN parts USING (number)")

    def write(self, split: str, file: Path) -> None:
        """Write a split as CSV, in the order of the source."""
        rows = self.database.execute("SELECT text, label FROM placed WHERE part = ? ORDER BY number", [split])
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(SPLIT_COLUMNS)
            while chunk := rows.fetchmany(CHUNK_ROWS):
                writer.writerows(chunk)

    def write_dropped(self, class_names: Sequence[str], file: Path) -> None:
        """Write the dropped rows as CSV for a spreadsheet, in the order of the sources. Leave out rows that only max_rows dropped."""
        rows = self.database.execute(
            "SELECT file, line, reason, label, raw_label, text FROM rows "
            "WHERE reason IS NOT NULL AND reason <> 'sampled_out' ORDER BY number"
        )
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(("file", "line", "reason", "label", "text"))
            while chunk := rows.fetchmany(CHUNK_ROWS):
                for name, line, reason, label, raw_label, text in chunk:
                    shown = raw_label if label is None else class_names[label]
                    writer.writerow((escape_formula(name), line, reason, escape_formula(shown), escape_formula(text)))


def scalar(database: "duckdb.DuckDBPyConnection", query: str) -> Any:
    """Return the only value of a query."""
    ((value,),) = database.execute(query).fetchall()
    return value
