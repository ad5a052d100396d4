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
