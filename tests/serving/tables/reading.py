"""Helpers of the tests of row readers: cut bytes into chunks and read all rows."""

import itertools
from collections.abc import Iterable

from hypothesis import strategies as st

from serving.tables.rows import Row, Rows, RowsBroken

CUTS = st.lists(st.integers(0, 400), max_size=8)


def chunks(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut the data at these positions."""
    ends = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def read(rows: Rows, data: Iterable[bytes]) -> tuple[list[Row], RowsBroken | None]:
    """Return all rows, and the error after them."""
    found: list[Row] = []
    try:
        for chunk in data:
            found.extend(rows.feed(chunk))
        found.extend(rows.end())
    except RowsBroken as error:
        return found, error
    return found, None
