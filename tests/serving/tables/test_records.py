"""JSON lines and Parquet are read as text and labels, or refused with the place."""

import json
import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from stages.shared.errors import FileUnreadable
from stages.shared.sources.errors import ColumnMissing
from tests.stages.shared.sources.reading import assert_refused, rows, written

RECORDS = [{"text": "fine, 'really'", "label": 1, "id": [7]}, {"text": "NA", "label": 1.0}, {"text": "좋아요", "label": True}]


RECORDS += [{"label": "positive", "text": "007"}, {"text": None, "label": 0.5}, {"text": "no class", "label": None}]


RECORD_ROWS = [("fine, 'really'", "1"), ("NA", "1"), ("좋아요", "1"), ("007", "positive"), ("", "0.5"), ("no class", "")]


def test_json_lines_are_read(tmp_path):
    lines = "\n\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)
    assert rows(written(tmp_path, lines + "\r\n", "a.jsonl")) == RECORD_ROWS
    assert rows(written(tmp_path, lines, "a.ndjson")) == RECORD_ROWS


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is broken in line 2"),
        ("[" * 100_000, "is broken in line 2"),
        ("7", "no JSON object as record 2"),
        ('{"text": ["a"], "label": 1}', "nested value in 'text' of record 2"),
        ('{"text": "a"}', "has no 'label' in record 2: add it, or remove the record"),
    ],
    ids=["cut off", "deep", "number", "nested", "missing"],
)
def test_a_broken_json_line_is_refused_with_its_number(tmp_path, line, problem):
    file = written(tmp_path, '{"text": "fine", "label": 1}\n' + line + "\n", "a.jsonl")
    with pytest.raises((FileUnreadable, ColumnMissing), match=problem):
        rows(file)


def test_infinite_and_missing_numbers_are_labels(tmp_path):
    assert rows(written(tmp_path, '{"text": "a", "label": Infinity}\n{"text": "b", "label": NaN}\n', "a.jsonl")) == [
        ("a", "inf"),
        ("b", ""),
    ]


@pytest.mark.parametrize(
    ("labels", "read"),
    [
        ([1, 0, 1], "101"),
        ([1.0, 0.0, None], ["1", "0", ""]),
        ([1.0, math.inf, math.nan], ["1", "inf", ""]),
        (["b", None, "1.0"], ["b", "", "1.0"]),
    ],
    ids=["int", "float", "infinite", "text"],
)
def test_parquet_labels_are_read_as_text(tmp_path, labels, read):
    file = tmp_path / "reviews.parquet"
    pd.DataFrame({"other": 0, "text": ["007", "NA", "좋아요"], "label": labels}).to_parquet(file)
    assert rows(file) == list(zip(["007", "NA", "좋아요"], read, strict=True))


def test_parquet_that_cannot_be_read_is_refused(tmp_path):
    pd.DataFrame({"text": ["a"], "colour": ["red"]}).to_parquet(tmp_path / "columns.parquet")
    pd.DataFrame({"text": [], "label": []}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "folder.parquet").mkdir()
    for file, problem in {
        written(tmp_path, "text,label\nfine,1\n", "csv.parquet"): "cannot be read as Parquet",
        written(tmp_path, "", "empty.parquet"): "cannot be read as Parquet",
        tmp_path / "folder.parquet": "is an empty folder",
        tmp_path / "gone.parquet": "does not exist",
        tmp_path / "columns.parquet": r"no column of labels \(found: 'text', 'colour'\)",
        tmp_path / "rows.parquet": "has a header but no rows",
    }.items():
        with pytest.raises((FileUnreadable, ColumnMissing), match=problem):
            rows(file)


@pytest.mark.parametrize("text", [{"a": "fine"}, ["fine"]], ids=["struct", "list"])
def test_nested_parquet_is_refused(tmp_path, text):
    pd.DataFrame({"text": [text], "label": [1]}).to_parquet(tmp_path / "nested.parquet")
    with pytest.raises(FileUnreadable, match="has a nested value in 'text' of row 1"):
        rows(tmp_path / "nested.parquet")


def test_parquet_with_repeated_columns_or_unreadable_values_is_refused(tmp_path: Path) -> None:
    twice = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array([1])], names=["text", "text", "label"])
    parquet.write_table(twice, tmp_path / "twice.parquet")
    late = pa.table({"text": ["a"], "label": pa.array([2**53], pa.timestamp("ms"))})
    parquet.write_table(late, tmp_path / "late.parquet")
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    parquet.write_table(pa.table({"text": broken, "label": [1]}), tmp_path / "broken.parquet")
    for name, problem in {
        "twice": "has the column 'text' more than once",
        "late": "cannot be read",
        "broken": "bytes that are not UTF-8",
    }.items():
        with pytest.raises(FileUnreadable, match=problem):
            rows(tmp_path / f"{name}.parquet")


def test_a_parquet_file_with_one_long_text_is_refused(tmp_path, monkeypatch):
    pd.DataFrame({"text": ["a" * 10_000_000], "label": [1]}).to_parquet(tmp_path / "a.parquet", compression="zstd")
    assert_refused(tmp_path / "a.parquet", "has a text of over 1,000,000 characters in row 1")
    monkeypatch.setattr("serving.tables.records.FREE_BYTES", 2**20)
    assert_refused(tmp_path / "a.parquet", "decompresses to over 300 times its size")
