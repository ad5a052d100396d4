"""Tests that lines come out as Python splits the complete text, in any chunks, and that errors come after the good lines."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.tables.labelled import MAX_CHARACTERS
from serving.tables.lines import Lines, NotDecoded
from serving.tables.rows import RowsBroken
from tests.serving.tables.reading import CUTS, chunks


@given(
    text=st.text(st.sampled_from("ab\n\r\u2028\x85\x0c한😍"), max_size=60),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    cuts=CUTS,
)
def test_lines_keep_their_ends_in_any_chunks(text: str, encoding: str, cuts: list[int]) -> None:
    lines = Lines(encoding)
    found = [line for chunk in chunks(text.encode(encoding), cuts) for line in lines.feed(chunk)]
    found += lines.feed(b"", final=True)
    assert found == list(io.StringIO(text, newline=""))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_error_of_an_invalid_byte_comes_after_the_lines_before_it(size: int) -> None:
    data, lines = b"good\nfilm\r\nbad \xff\nmore\n", Lines("utf-8-sig")
    found: list[str] = []
    with pytest.raises(NotDecoded, match=r"the file is not UTF-8: save it in UTF-8$"):
        found.extend(line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size]))
    assert found == ["good\n", "film\r\n"]


def test_line_of_the_largest_size_is_read_and_a_longer_one_refused() -> None:
    assert [len(line) for line in Lines("utf-8").feed(b"a" * (MAX_CHARACTERS - 1) + b"\n")] == [MAX_CHARACTERS]
    with pytest.raises(RowsBroken, match="a line has more than 1,000,000 characters"):
        list(Lines("utf-8").feed(b"a" * (MAX_CHARACTERS + 1)))


KOREAN = "문장,라벨\n정말 재미있는 영화였어요,긍정\n다시는 보고 싶지 않아요,부정\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("size", [2, 3, 1000])
def test_encoding_is_found_in_chunks_of_any_size(encoding: str, size: int) -> None:
    data, lines = ("id,text\n" * (encoding in ("utf-8", "cp949")) + KOREAN).encode(encoding), Lines("auto")
    found = [line for at in range(0, len(data), size) for line in lines.feed(data[at : at + size])]
    found += lines.feed(b"", final=True)
    assert "".join(found).endswith(KOREAN)


def test_lines_of_ascii_and_utf8_come_at_once_and_others_when_the_bytes_pause() -> None:
    lines = Lines("auto")
    assert list(lines.feed(b"text\n")) == ["text\n"]
    assert list(lines.feed("좋아요\n".encode())) == ["좋아요\n"]
    lines = Lines("auto")
    assert list(lines.feed("정말 좋아요\n".encode("cp949"))) == []
    assert list(lines.feed(b"")) == ["정말 좋아요\n"]
    assert list(lines.feed("싫어요\n".encode("cp949"))) == ["싫어요\n"]


def test_many_small_chunks_of_another_encoding_take_linear_time() -> None:
    """Read half a megabyte byte by byte: a quadratic reader would not finish."""
    data, lines = ("정말 좋아요\n" * 50_000).encode("cp949"), Lines("auto")
    found = [line for byte in data for line in lines.feed(bytes([byte]))]
    assert len(found + list(lines.feed(b"", final=True))) == 50_000
