"""Errors about the columns of a source, and how errors show names that come from a file."""

from collections.abc import Iterable
from pathlib import Path

from stages.shared.errors import StageError

SHOWN = 10  # names in one message
LONGEST = 60  # characters of a name


class ColumnMissing(StageError):
    """A table lacks a column that the params name."""

    def __init__(self, file: Path, wanted: str, param: str, found: Iterable[str]) -> None:
        columns = list(found)
        names = ", ".join(f"'{shortened(name)}'" for name in columns[:SHOWN])
        more = f" and {len(columns) - SHOWN} more" if columns[SHOWN:] else ""
        super().__init__(f"{file} has no column '{wanted}' (found: {names}{more}): name the right one in {param}")


def shortened(name: str) -> str:
    """Return a name from a file at a length that fits into a message."""
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
