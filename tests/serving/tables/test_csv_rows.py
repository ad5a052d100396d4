"""Tests that CSV and TSV come back as the csv module reads them, in any chunks, and that a broken file gets an error message."""

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.tables.formats import rows_of
from serving.tables.labelled import MAX_CHARACTERS
from serving.tables.rows import Answer, ColumnMissing, ColumnUnsure, RowsBroken
from tests.serving.tables.reading import CUTS, chunks, read

CELLS = st.text(st.sampled_from("ab ,;\t|\"'\n\r\0\u2028\x85\x0c한😍"), max_size=6)


def table(cells: list[list[str]], **options: Any) -> str:
    written = io.StringIO(newline="")
    csv.writer(written, **options).writerows(cells)
    return written.getvalue()


@given(
    data=st.data(),
    width=st.integers(1, 4),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.sampled_from(["", "\ufeff"]),
    last_end=st.booleans(),
    cuts=CUTS,
)
def test_any_table_comes_back_as_the_csv_module_reads_it(
    data: st.DataObject, width: int, separator: str, quoting: int, line_end: str, mark: str, last_end: bool, cuts: list[int]
) -> None:
    cells = data.draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6))
    separator = "," if width == 1 else separator  # a header of one name does not show the separator
    header = ["text", *(f"c {number}" for number in range(1, width))]
    # with the line end \n csv.writer does not quote a lone \r, which no reader can read back
    text = table([header], delimiter=separator, quoting=quoting, lineterminator=line_end)
    text += table(cells, delimiter=separator, quoting=quoting, lineterminator="\r\n").replace("\r\n", line_end)
    text = text if last_end else text.removesuffix(line_end)
    expected = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row][1:]
    rows = rows_of("csv", "text")
    found, error = read(rows, chunks((mark + text).encode(), cuts))
    assert error is None
    assert [row.source for row in found] == expected
    assert [row.text for row in found] == [row[0] for row in expected]
    written = rows.head() + b"".join(rows.line(row, Answer("LABEL_1", 0.5, None)) for row in found)
    again = list(csv.reader(io.StringIO(written.decode(), newline=""), delimiter=separator))
    assert again == [[*header, "label", "score", "error"], *([*row, "LABEL_1", "0.5", ""] for row in expected)]


@given(text=st.text(st.sampled_from('a,"\n\r'), max_size=40), cuts=CUTS)
def test_quotes_in_any_place_are_read_as_the_csv_module_reads_them(text: str, cuts: list[int]) -> None:
    text = f"text,b\n{text}"
    found, error = read(rows_of("csv", "text"), chunks(text.encode(), cuts))
    expected = [row for row in csv.reader(io.StringIO(text, newline="")) if row][1:]
    if error:  # the csv module closes the last quote itself
        assert re.search("never closed|complete rows inside a quoted text", str(error))
        expected = expected[: len(found)]
    assert [row.text for row in found] == [row[0] for row in expected]
    assert [bool(row.problem) for row in found] == [len(row) > 2 for row in expected]


LINES = [f"{number},the screen of {number}" for number in range(1, 31)]


@pytest.mark.parametrize(
    ("header", "opening", "closing"),
    [
        ("id,text", '5,"broke after two days', '25,"broke after two days'),
        ("id,text", '5,"broke after two days', '25,the screen has 15"'),
        ("id,what they say", '5,"broke after two days', '25,"broke after two days'),
    ],
    ids=["text after the quote", "quote at an end", "column found by its values"],
)
def test_rows_that_a_lone_quote_swallows_stop_the_reading(header: str, opening: str, closing: str) -> None:
    lines = [header, *LINES]
    lines[5], lines[25] = opening, closing
    found, error = read(rows_of("csv", "auto"), ["\n".join(lines).encode()])
    assert [row.source[0] for row in found] == ["1", "2", "3", "4"]
    assert str(error) == "the next row has complete rows inside a quoted text: double the quotes that are part of a text"


@pytest.mark.parametrize("text", ["Prices:\n1,50\n2,60", "Dear shop,\nthe screen, it broke", "a\n" * 20], ids=["list", "letter", "lines"])
def test_text_of_several_lines_is_no_swallowed_row(text: str) -> None:
    found, error = read(rows_of("csv", "text"), [table([["id", "text"], ["1", text], ["2", "fine"]]).encode()])
    assert ([row.text for row in found], error) == ([text, "fine"], None)


@pytest.mark.parametrize("header", ['x;"a\nb",text', 'x;"a\rb",text', 'a|"b\nc",text'])
def test_header_of_mixed_separators_and_quotes_is_refused(header: str) -> None:
    found, error = read(rows_of("csv", "text"), [f"{header}\n".encode()])
    assert not found
    assert isinstance(error, RowsBroken)


def test_header_with_a_line_end_in_a_quoted_name_is_read() -> None:
    found, error = read(rows_of("csv", "text"), [b'"a\nb";text\n1;good\n'])
    assert ([row.text for row in found], error) == (["good"], None)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ('"' + "a" * 900_000 + "\n" + "b" * 900_000 + '",text\n', "a row has more than 1,000,000 characters"),
        ("text" + "," * 500_000 + "\nx\n", "the file has more than 4,096 columns"),
    ],
)
def test_header_that_is_too_large_is_refused(file: str, sentence: str) -> None:
    _, error = read(rows_of("csv", "text"), [file.encode()])
    assert sentence in str(error)


def test_error_of_a_file_without_a_header_has_the_names_that_it_found() -> None:
    _, error = read(rows_of("csv", "text"), [b"the film was good,1\n"])
    assert isinstance(error, ColumnMissing)
    assert error.found == ["the film was good", "1"]
    assert "film" not in str(error)


def test_stray_quote_of_a_tsv_loses_no_row() -> None:
    lines = ["text\tn", '"good film\t1', 'a 5" screen\t2', '"quoted ""x"""\t3', 'bad" film\t4', '"']
    found, error = read(rows_of("tsv", "text"), ["\n".join(lines).encode()])
    assert error is None
    assert [row.text for row in found] == ['"good film', 'a 5" screen', 'quoted "x"', 'bad" film', '"']
    assert [row.source[1] for row in found] == ["1", "2", "3", "4", ""]


def test_ragged_rows_are_filled_or_refused_and_blank_lines_are_not_rows() -> None:
    rows = rows_of("csv", "text")
    found, _ = read(rows, [b"id,text,note\n1\n\n2,good\r\n\r\n3,good,x\n4,good,x,y\n"])
    assert [row.source for row in found] == [["1", "", ""], ["2", "good", ""], ["3", "good", "x"], ["4", "good", "x"]]
    assert [row.problem for row in found] == [
        None,
        None,
        None,
        "the row has 4 cells, the header 3: quote a cell that contains the separator",
    ]
    assert rows.line(found[3], Answer(None, None, "why")) == b"4,good,x,,,why\n"
    assert rows.failure("why") == b",,,,,why\n"


@pytest.mark.parametrize(
    ("file", "column", "texts"),
    [
        ("id,Text\n1,good\n", "auto", "Text"),
        ("id,Review\n1,good\n", "review", "Review"),
        ("id,review,stars\n1,good,5\n2,bad,1\n", "auto", "review"),
        ("a;b;c\n1;what a good day;5\n2;what a bad day;1\n", "auto", "b"),
        ("sep=;\nid;text\n1;good\n", "auto", "text"),
        ("1|what a good day|5\n2|what a bad day|5\n", "auto", "1"),
        ("1,what a good day\n2,what a bad day\n", "1", "1"),
        ("what a good day\nwhat a bad day\n", "auto", "0"),
    ],
)
def test_separator_header_and_column_are_found(file: str, column: str, texts: str) -> None:
    has_header = not texts.isdecimal()
    for size in (1, 1000):
        rows = rows_of("csv", column)
        found, error = read(rows, [file[at : at + size].encode() for at in range(0, len(file), size)])
        assert error is None
        assert rows.column == texts
        lines = [line for line in file.splitlines() if not line.startswith("sep=")]
        assert len(found) == len(lines) - has_header
        assert all("good" in str(row.text) or "bad" in str(row.text) for row in found)
        assert rows.head().decode().partition("\n")[0].startswith(lines[0]) is has_header


def test_row_that_has_the_name_settles_the_column_at_once_and_others_when_the_rows_pause() -> None:
    rows = rows_of("csv", "review")
    assert [row.text for row in rows.feed(b"id,review\n1,good\n")] == ["good"]
    rows = rows_of("csv")
    assert list(rows.feed(b"id,review\n")) == []
    assert list(rows.feed(b"")) == []
    assert list(rows.feed(b"1,good film\n2,bad film\n")) == []
    assert [row.text for row in rows.feed(b"")] == ["good film", "bad film"]
    assert [row.text for row in rows.feed(b"3,film\n")] == ["film"]


@pytest.mark.parametrize("header", ["Report of 2024\nid,comment", "Report\nby Kim\nid;comment", "id,what they said"])
def test_pauses_change_no_column(header: str) -> None:
    lines = [f"{line}\n".encode() for line in [*header.split("\n"), "1,good film", "2,bad film"]]
    lines = [line.replace(b",", b";") for line in lines] if ";" in header else lines
    rows, paused = rows_of("csv"), rows_of("csv")
    found, _ = read(rows, lines)
    assert read(paused, [part for line in lines for part in (line, b"")]) == (found, None)
    assert [row.text for row in found] == ["good film", "bad film"]
    assert paused.head() == rows.head()


def test_rows_that_wait_come_before_an_error() -> None:
    found, error = read(rows_of("csv"), [b'id,said\n1,good film\n2,"never closed\n'])
    assert [row.text for row in found] == ["good film"]
    assert "never closed" in str(error)


def test_file_without_texts_asks_for_the_column() -> None:
    _, error = read(rows_of("csv"), [b"id,stars\n1,5\n2,4\n"])
    assert isinstance(error, ColumnUnsure)
    assert str(error) == "no column surely holds the texts: name it, and give each column a name of its own"
    assert error.reason.problem == "has no column of texts ('id' holds numbers, 'stars' holds numbers)"


def test_name_of_two_columns_is_not_called_missing() -> None:
    _, error = read(rows_of("csv", "said"), [b"Report of 2024\nsaid,stars,Said\ngood,5,x\nbad,4,y\n"])
    assert isinstance(error, ColumnUnsure)
    assert error.reason.problem == "has the column 'said' more than once"


@pytest.mark.parametrize(
    ("start", "repeated"),
    [("text\n", "a"), ("text\n", '"a",'), ("", ',""'), ('text\n"', 'a""'), ('text\n"', "\n"), ("", "text,")],
)
def test_row_of_many_characters_is_read_in_linear_time(start: str, repeated: str) -> None:
    """Read a row of 900,000 characters in small chunks: a quadratic reader would not finish."""
    data = (start + repeated * (900_000 // len(repeated))).encode()
    small, large = (read(rows_of("csv", "text"), (data[at : at + size] for at in range(0, len(data), size))) for size in (1_000, len(data)))
    assert small[0] == large[0]
    assert str(small[1]) == str(large[1])


def test_long_cell_is_read_after_other_code_changed_the_limit_of_the_csv_module() -> None:
    limit = csv.field_size_limit(10)
    try:
        found, error = read(rows_of("csv", "text"), [b"text\n" + b"a" * (MAX_CHARACTERS - 1) + b"\n"])
    finally:
        csv.field_size_limit(limit)
    assert error is None
    assert [len(row.text) for row in found] == [MAX_CHARACTERS - 1]


@pytest.mark.parametrize("said", ["1-" * 400_000 + "x", "," * 900_000, "a_" * 400_000])
def test_column_is_found_in_linear_time(said: str) -> None:
    """Look at a row of nearly a million characters: a quadratic pattern would not finish."""
    found, error = read(rows_of("csv"), [f"id,said\n7,{said}\n".encode()])
    assert len(found) == (error is None)


def test_title_rows_are_left_out() -> None:
    rows = rows_of("csv")
    found, error = read(rows, [b"Reviews of 2024\nid,comment\n1,good film\n2,bad film\n"])
    assert ([row.text for row in found], error) == (["good film", "bad film"], None)
    assert rows.head() == b"id,comment,label,score,error\n"


def test_rows_wider_than_the_header_have_a_problem_and_their_extra_cells_no_text() -> None:
    _, error = read(rows_of("csv"), [b"id,rating\n1,2,what a long text\n3,4,what a longer text\n"])
    assert isinstance(error, ColumnUnsure)
    found, error = read(rows_of("csv"), [b"id,said\n1,good film,what a long text\n2,bad film\n"])
    assert error is None
    assert [row.text for row in found] == ["good film", "bad film"]
    assert [bool(row.problem) for row in found] == [True, False]


PROS = [f"Pros: plot {number}, cast; Cons: end" for number in range(40)]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("id,review", '{number},"{text}"'),
        ("id,review", '{number},"He said: {text}"'),
        ("nr,customer_review", '{number},"{text}"'),
        ("nr,what they said", '{number},"{text}"'),
        ("review", '"{text}"'),
    ],
)
def test_separator_that_stands_once_in_each_text_is_not_the_one_of_the_file(header: str, row: str) -> None:
    rows = rows_of("csv")
    found, error = read(rows, ["\n".join([header, *(row.format(number=number, text=text) for number, text in enumerate(PROS))]).encode()])
    assert error is None
    assert rows.head().decode().startswith(f"{header},label,")
    assert [str(row.text).removeprefix("He said: ") for row in found] == PROS
    assert not any(row.problem for row in found)


@pytest.mark.parametrize("title", ["Report of 2024", "Report, of 2024"])
def test_title_rows_do_not_hide_the_separator(title: str) -> None:
    rows = rows_of("csv")
    found, _ = read(rows, [f"{title}\nid;comment\n1;good film\n2;bad film\n".encode()])
    assert [row.text for row in found] == ["good film", "bad film"]
