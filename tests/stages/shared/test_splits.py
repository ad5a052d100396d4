"""Splits are read as preprocess wrote them, or refused."""

from pathlib import Path

import pytest

from stages.shared.errors import FileUnreadable
from stages.shared.splits import read_split


def written(folder: Path, content: str) -> Path:
    file = folder / "reviews.csv"
    file.write_bytes(content.encode())
    return file


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("text,label\n", "is no split with the columns"),
        ("text,stars\nfine,1\n", "is no split"),
        ("text,label\nfine,good\n", "is no split"),
        ("text,label\nfine,2\n", "has the class id 2 where there are 2 classes"),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path, content, problem):
    with pytest.raises(FileUnreadable, match=problem):
        read_split(written(tmp_path, content), ("negative", "positive"))


def test_a_missing_split_names_the_stage_that_writes_it(tmp_path):
    with pytest.raises(FileUnreadable, match="run `dvc repro preprocess`"):
        read_split(tmp_path / "train.csv")
