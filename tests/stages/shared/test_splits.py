"""Splits are read as preprocess wrote them or refused, and header-only files are recognized."""

from pathlib import Path

import pytest

from stages.shared.errors import FileUnreadable
from stages.shared.splits import HEADER_ONLY, is_header_only, read_split
from tests.running import ROOT


def written(folder: Path, content: str) -> Path:
    file = folder / "reviews.csv"
    file.write_bytes(content.encode())
    return file


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("text,label\n", "is not a split with the columns"),
        ("text,stars\nfine,1\n", "is not a split"),
        ("text,label\nfine,good\n", "is not a split"),
        ("text,label\nfine,2\n", "has the class id 2, but there are 2 classes"),
    ],
)
def test_a_file_that_is_not_a_split_is_refused(tmp_path, content, problem):
    with pytest.raises(FileUnreadable, match=problem):
        read_split(written(tmp_path, content), ("negative", "positive"))


def test_a_missing_split_names_the_stage_that_writes_it(tmp_path):
    with pytest.raises(FileUnreadable, match="run `dvc repro preprocess`"):
        read_split(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("content", "expected"),
    [("text,label\n", True), ("\ufefftext,label\r\n\r\n", True), ("", True), ("text,label\nfine,1\n", False), ("text" * 2_000, False)],
    ids=["header", "mark and blank line", "empty", "row", "long line"],
)
def test_a_header_only_file_has_at_most_one_short_line(tmp_path, content, expected):
    assert is_header_only(written(tmp_path, content)) is expected


def test_the_shipped_file_is_header_only_and_a_folder_is_not(tmp_path):
    assert is_header_only(ROOT / "data/raw" / HEADER_ONLY)
    assert not is_header_only(tmp_path)
