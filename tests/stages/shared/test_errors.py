"""The base classes of errors, and the first line of an error."""

from pathlib import Path

import pytest

from stages.shared.errors import FileUnreadable, StageError, Unavailable, first_line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one  \ntwo"), "one"),
        (ValueError("한 줄"), "한 줄"),
        (ValueError(), "ValueError"),
        (KeyError("missing"), "'missing'"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
)
def test_first_line_of_an_error_is_never_empty(error: Exception, expected: str) -> None:
    assert first_line(error).strip() == expected


def test_unreadable_file_is_named_with_the_problem_and_the_remedy() -> None:
    error = FileUnreadable(Path("data/raw/a.csv"), "is not UTF-8", "set preprocess.encoding")
    assert str(error) == "data/raw/a.csv is not UTF-8: set preprocess.encoding"


def test_every_error_of_a_stage_is_a_stage_error() -> None:
    assert issubclass(FileUnreadable, StageError)
    assert issubclass(Unavailable, StageError)
