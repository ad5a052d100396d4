"""The base classes of errors that end a stage with a message: what is wrong, where, and what to do next.

Every other error stands beside the code that raises it. A class takes facts and writes the message, so a call site is one line.
"""

from pathlib import Path


class StageError(Exception):
    """A stage cannot do its work, for a reason that the user can remove."""


class FileUnreadable(StageError):
    """A source file is not what its name or its params claim."""

    def __init__(self, file: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{file} {problem}: {remedy}")


class Unavailable(StageError):
    """A stage cannot reach something outside the project that it needs: a network, a package, a server."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class if it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
