"""Links between rows that a split should not part: near duplicates, and texts that contain each other.

In: the database of a RowStore. Out: rows of its table `links`, and rows of the source that are marked as leaked.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.shared.dataset.contained_texts import contained_pairs
from stages.shared.dataset.duplicates import LONGEST
from stages.shared.dataset.near_duplicates import near_pairs
from stages.shared.dataset.row_store import CHUNK_ROWS, KEPT, MANY

if TYPE_CHECKING:
    import duckdb

Containment = Literal["report", "group"]


class Links:
    """The links of a row store, found by one search after the other."""

    def __init__(self, database: "duckdb.DuckDBPyConnection") -> None:
        self._database = database

    def find_near_duplicates(self, threshold: float) -> None:
        """Link near duplicates, and drop rows of the source that are near duplicates of a supplied file's rows."""
        numbers = self._numbers()
        found = list(near_pairs(self._keys(len(numbers), "near duplicates"), threshold, lambda places: self._keys_of(numbers[places])))
        self._add(numbers[np.array(found, dtype=np.int64).reshape(-1, 2)], "near", together=True)
        self._drop_leaked()

    def find_contained(self, containment: Containment) -> None:
        """Link texts that contain each other. `group`: also drop rows of the source that a supplied file's rows contain, or the reverse."""
        numbers = self._numbers()
        for pairs in contained_pairs(lambda: self._keys(len(numbers), "contained texts"), LONGEST):
            self._add(numbers[pairs], "contained", together=containment == "group")
        self._drop_leaked()

    def _numbers(self) -> NDArray[np.int64]:
        """Return the numbers of the rows that are left, in the order in which `_keys` reads them."""
        rows = self._database.execute("SELECT number FROM rows WHERE reason IS NULL AND key <> '' ORDER BY number")
        return np.asarray(rows.fetchnumpy()["number"])

    def _keys(self, count: int, name: str) -> Iterator[list[str]]:
        """Yield the keys of the rows that are left, in chunks. count, name: for the progress bar."""
        rows = self._database.cursor().execute("SELECT key FROM rows WHERE reason IS NULL AND key <> '' ORDER BY number")
        with tqdm(total=count, desc=name, unit=" rows", disable=count < MANY or None) as bar:
            while chunk := rows.fetchmany(CHUNK_ROWS):
                yield [key[:LONGEST] for (key,) in chunk]
                bar.update(len(chunk))

    def _keys_of(self, numbers: NDArray[np.int64]) -> list[str]:
        import pyarrow as pa

        self._database.register("wanted", pa.table({"number": numbers}))
        rows = self._database.execute("SELECT key FROM rows JOIN wanted USING (number) ORDER BY number")
        return [key[:LONGEST] for (key,) in rows.fetchall()]

    def _add(self, pairs: NDArray[np.int64], kind: str, *, together: bool) -> None:
        """Add links. together: whether the rows of a pair share a split."""
        import pyarrow as pa

        self._database.register("found", pa.table({"one": pairs[:, 0], "other": pairs[:, 1]}))
        self._database.execute(f"INSERT INTO links SELECT one, other, '{kind}', {together} FROM found")
        self._database.unregister("found")

    def _drop_leaked(self) -> None:
        """Drop rows of the source that share a split with a supplied file's rows."""
        self._database.execute(
            f"""
            UPDATE rows SET reason = 'leaked' WHERE {KEPT} AND number IN (
                SELECT one FROM linked JOIN rows AS supplied ON supplied.number = other WHERE together AND supplied.origin <> 'source'
            )
            """
        )
