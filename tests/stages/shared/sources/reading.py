"""Helpers of the tests of sources: write a file, read it, or assert that it is refused."""

from pathlib import Path
from typing import Any

import pytest

from stages.shared.errors import FileUnreadable
from stages.shared.sources.source import Source
from stages.shared.sources.tables import ReadOptions

LABELS = {"0", "1", "01", "positive", "negative"}
TABLE = "text,label\ngood,1\nbad,0\n"


def written(folder: Path, content: str | bytes, name: str = "reviews.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def read(file: Path, **options: Any) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return the texts and labels of a source, and the facts of how it was read."""
    found = Source(file, ReadOptions(LABELS.__contains__, **options), optional=False)
    return [(row.text, row.label) for row in found.rows()], found.facts.as_text()


def rows(file: Path, **options: Any) -> list[tuple[str, str]]:
    return read(file, **options)[0]


def facts(file: Path, **options: Any) -> dict[str, str]:
    return read(file, **options)[1]


def assert_refused(path: Path, sentence: str) -> None:
    with pytest.raises(FileUnreadable, match=sentence):
        rows(path)
