"""Errors about a source's table."""

from collections.abc import Iterable
from pathlib import Path

from stages.shared.errors import StageError

SHOWN = 10  # names of columns
LONGEST = 60  # characters of a name


class ColumnMissing(StageError):
    """A table without a column that the params name."""

    def __init__(self, file: Path, wanted: str, param: str, found: Iterable[str]) -> None:
        columns = list(found)
        names = ", ".join(f"'{_short(name)}'" for name in columns[:SHOWN]) + (
            f" and {len(columns) - SHOWN} more" if columns[SHOWN:] else ""
        )
        super().__init__(f"{file} has no column '{wanted}' (found: {names}): name the right one in {param}")


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
