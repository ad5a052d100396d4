"""Errors of reading a file, and how they show names that come from the file."""

from collections.abc import Iterable
from pathlib import Path

SHOWN = 10  # names in one message
LONGEST = 60  # characters of a name


class FileUnreadable(Exception):
    """A file is not what its name or the options claim.

    remedy: options stand in it in braces, such as {encoding}, because each entry point has its own names for them.
    """

    def __init__(self, file: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{file} {problem}: {remedy}")
        self.file, self.problem, self.remedy = file, problem, remedy


class ColumnNotFound(FileUnreadable):
    """A table lacks a column. wanted: its name in quotes, or what it holds. found: the columns that the table has."""

    def __init__(self, file: Path, wanted: str, found: Iterable[str], remedy: str) -> None:
        self.found = columns = list(found)
        names = ", ".join(f"'{shortened(name)}'" for name in columns[:SHOWN])
        more = f" and {len(columns) - SHOWN} more" if columns[SHOWN:] else ""
        super().__init__(file, f"has no column {wanted} (found: {names}{more})", remedy)


class HeaderNotFound(FileUnreadable):
    """A table without a header, in which the columns need numbers."""


def shortened(name: str) -> str:
    """Return a name from a file at a length that fits into a message."""
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
