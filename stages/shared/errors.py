"""What a stage says when it cannot do its work: what is wrong, where, and what to do next.

The classes take facts and write the sentence, so that a call site is one line.
"""

from pathlib import Path


class StageError(Exception):
    """A stage cannot do its work, for a reason that the user can mend."""


class FileUnreadable(StageError):
    """A source file that cannot be read as what it claims to be."""

    def __init__(self, file: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{file} {problem}: {remedy}")


class Unavailable(StageError):
    """Something outside the project (a network, a package, a server) that a stage needs and cannot reach."""
