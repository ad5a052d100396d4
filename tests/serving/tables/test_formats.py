"""Tests of all text formats together: chunks change nothing, and each broken file gets an error message after its good rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.tables.files import KINDS
from serving.tables.formats import ENDINGS, rows_of
from serving.tables.labelled import MAX_CHARACTERS
from serving.tables.lines import NotDecoded
from tests.serving.tables.reading import CUTS, chunks, read


@given(
    data=st.binary(max_size=60) | st.lists(st.sampled_from([b"\r", b"\n", b"text", b'"', b",", b"\xff", b"\xed", b"{}"])).map(b"".join),
    file_format=st.sampled_from(["csv", "tsv", "ndjson"]),
    encoding=st.sampled_from(["utf-8-sig", "cp949", "utf-16"]),
    cuts=CUTS,
)
def test_any_bytes_give_the_same_rows_and_the_same_error_message_in_any_chunks(
    data: bytes, file_format: str, encoding: str, cuts: list[int]
) -> None:
    data = b"text\n" + data if encoding != "utf-16" else data
    found, error = read(rows_of(file_format, "text", encoding), [data])
    again, same = read(rows_of(file_format, "text", encoding), chunks(data, cuts))
    assert found == again
    assert str(error) == str(same)


@pytest.mark.parametrize(
    ("file_format", "data", "rows", "sentence"),
    [
        ("csv", b'text\ngood\n"never closed\nfilm\n', ["good"], "a quoted cell is never closed"),
        ("csv", b'text\ngood\n"' + b"film\n" * 300_000, ["good"], "is a quote never closed?"),
        ("csv", b"text\ngood\n" + b"a" * (MAX_CHARACTERS + 1), ["good"], "a line has more than 1,000,000 characters"),
        ("ndjson", b'{"text": "good"}\n' + b" " * (MAX_CHARACTERS + 1) + b"\n", ["good"], "a line has more than 1,000,000 characters"),
        ("csv", b"text\ngood\nbad \x81\n", ["good"], "the file is not UTF-8"),
        ("ndjson", b'{"text": "good"}\n{"text": "\x81"}\n', ["good"], "the file is not UTF-8"),
        ("csv", b"", [], "the file is empty"),
        ("csv", b"\xef\xbb\xbf\r\n\r\n", [], "the file is empty"),
        ("tsv", b"text,label\ngood,1\n", [], "the header does not have the column"),
        ("csv", b"text,label,predicted_label\na,b,c\n", [], "it was scored before"),
        ("ndjson", b'{"text": "good"}\n{"label": 1, "predicted_score": 1}\n', ["good"], "it was scored before"),
    ],
)
def test_broken_file_gives_an_error_message_after_its_good_rows(file_format: str, data: bytes, rows: list[str], sentence: str) -> None:
    for parts in ([data], chunks(data, range(0, len(data), 60_000))):
        found, error = read(rows_of(file_format, "text"), parts)
        assert [row.text for row in found] == rows
        assert sentence in str(error)


def test_bytes_of_another_encoding_have_their_own_error() -> None:
    korean = "text\n영화가 좋아요\n".encode("cp949")
    assert isinstance(read(rows_of("csv", "text", "utf-8"), [korean])[1], NotDecoded)
    assert [row.text for row in read(rows_of("csv", "text", "cp949"), [korean])[0]] == ["영화가 좋아요"]
    assert str(read(rows_of("csv", "text", "utf-16"), [b"text\n"])[1]) == "the file is not UTF-16: save it in UTF-16"


def test_endings_are_those_of_the_files_that_preprocess_reads_row_by_row() -> None:
    expected = {".csv": "csv", ".txt": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "ndjson", ".ndjson": "ndjson"}
    assert expected == ENDINGS
    assert [ending for ending in KINDS if ending not in ENDINGS] == [".json", ".parquet", ".xlsx"]
