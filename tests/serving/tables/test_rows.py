"""That rows come back as the csv and json modules read them, however the bytes are cut, and that broken files get a sentence."""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.tables.formats import rows_of
from serving.tables.rows import MAX_ROW, Answer, ColumnMissing, NotDecoded, Row, Rows, RowsBroken, answer_names

CELLS = st.text(st.sampled_from("ab ,;\t|\"'\n\r\0\u2028\x85\x0c한😍"), max_size=6)
CUTS = st.lists(st.integers(0, 400), max_size=8)
Read = tuple[list[Row], RowsBroken | None]


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The data, cut at some places."""
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def read(rows: Rows, chunks: Iterable[bytes]) -> Read:
    """All rows, and what went wrong behind them."""
    found: list[Row] = []
    try:
        for chunk in chunks:
            found.extend(rows.feed(chunk))
        found.extend(rows.end())
    except RowsBroken as error:
        return found, error
    return found, None


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
    separator = "," if width == 1 else separator  # which one is meant is not seen in a header of one name
    header = ["text", *(f"c {number}" for number in range(1, width))]
    # with the line end \n csv.writer leaves a lone return unquoted, which no reader takes back
    text = table([header], delimiter=separator, quoting=quoting, lineterminator=line_end)
    text += table(cells, delimiter=separator, quoting=quoting, lineterminator="\r\n").replace("\r\n", line_end)
    text = text if last_end else text.removesuffix(line_end)
    expected = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row][1:]
    rows = rows_of("csv", "text")
    found, error = read(rows, pieces((mark + text).encode(), cuts))
    assert error is None
    assert [row.source for row in found] == expected
    assert [row.text for row in found] == [row[0] for row in expected]
    written = rows.head() + b"".join(rows.line(row, Answer("LABEL_1", 0.5, None)) for row in found)
    again = list(csv.reader(io.StringIO(written.decode(), newline=""), delimiter=separator))
    assert again == [[*header, "label", "score", "error"], *([*row, "LABEL_1", "0.5", ""] for row in expected)]


@given(text=st.text(st.sampled_from('a,"\n\r'), max_size=40), cuts=CUTS)
def test_quotes_in_any_place_are_read_as_the_csv_module_reads_them(text: str, cuts: list[int]) -> None:
    text = f"text,b\n{text}"
    found, error = read(rows_of("csv", "text"), pieces(text.encode(), cuts))
    expected = [row for row in csv.reader(io.StringIO(text, newline="")) if row][1:]
    if error:  # the csv module closes the last quote by itself
        assert "never closed" in str(error)
        expected = expected[: len(found)]
    assert [row.text for row in found] == [row[0] for row in expected]
    assert [bool(row.problem) for row in found] == [len(row) > 2 for row in expected]


@pytest.mark.parametrize("header", ['x;"a\nb",text', 'x;"a\rb",text', 'a|"b\nc",text'])
def test_header_of_mixed_separators_and_quotes_is_refused(header: str) -> None:
    found, error = read(rows_of("csv", "text"), [f"{header}\n1,good\n".encode()])
    assert not found
    assert isinstance(error, RowsBroken)


def test_header_with_a_line_end_in_a_quoted_name_is_read() -> None:
    found, error = read(rows_of("csv", "text"), [b'"a\nb";text\n1;good\n'])
    assert ([row.text for row in found], error) == (["good"], None)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ('"' + "a" * 900_000 + "\n" + "b" * 900_000 + '",text\n', "a row has more than 1,000,000 characters"),
        ("text" + "," * 500_000 + "\nx\n", "the header names more than 4,096 columns"),
    ],
)
def test_header_without_bounds_is_refused(file: str, sentence: str) -> None:
    _, error = read(rows_of("csv", "text"), [file.encode()])
    assert sentence in str(error)


def test_stray_quote_of_a_tsv_swallows_no_row() -> None:
    lines = ["text\tn", '"good film\t1', 'a 5" screen\t2', '"quoted ""x"""\t3', 'bad" film\t4', '"']
    found, error = read(rows_of("tsv", "text"), ["\n".join(lines).encode()])
    assert error is None
    assert [row.text for row in found] == ['"good film', 'a 5" screen', 'quoted "x"', 'bad" film', '"']
    assert [row.source[1] for row in found] == ["1", "2", "3", "4", ""]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(
    objects=st.lists(st.dictionaries(st.sampled_from(["text", "b", "라벨"]), JSON_VALUES), max_size=5),
    line_end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    escaped=st.booleans(),
    cuts=CUTS,
)
def test_any_objects_come_back_with_their_answer(objects: list[dict[str, Any]], line_end: str, escaped: bool, cuts: list[int]) -> None:
    lines = [json.dumps(row, ensure_ascii=escaped) for row in objects]
    rows = rows_of("ndjson", "text")
    found, error = read(rows, pieces(line_end.join(lines).encode("utf-8", "surrogatepass"), cuts))
    assert error is None
    assert [row.text for row in found] == [row.get("text") for row in objects]
    assert [row.problem is None for row in found] == ["text" in row for row in objects]
    written = b"".join(rows.line(row, Answer("LABEL_0", 0.25, None)) for row in found).decode()
    assert [json.loads(line) for line in written.split("\n")[:-1]] == [{**row, "label": "LABEL_0", "score": 0.25} for row in objects]


@given(
    data=st.binary(max_size=60) | st.lists(st.sampled_from([b"\r", b"\n", b"text", b'"', b",", b"\xff", b"\xed", b"{}"])).map(b"".join),
    kind=st.sampled_from(["csv", "tsv", "ndjson"]),
    encoding=st.sampled_from(["utf-8-sig", "cp949", "utf-16"]),
    cuts=CUTS,
)
def test_any_bytes_give_the_same_rows_and_the_same_sentence_however_they_are_cut(
    data: bytes, kind: str, encoding: str, cuts: list[int]
) -> None:
    data = b"text\n" + data if encoding != "utf-16" else data
    found, error = read(rows_of(kind, "text", encoding), [data])
    again, same = read(rows_of(kind, "text", encoding), pieces(data, cuts))
    assert found == again
    assert str(error) == str(same)


@pytest.mark.parametrize(
    ("kind", "data", "rows", "sentence"),
    [
        ("csv", b'text\ngood\n"never closed\nfilm\n', ["good"], "a quoted cell is never closed"),
        ("csv", b'text\ngood\n"' + b"film\n" * 300_000, ["good"], "is a quote never closed?"),
        ("csv", b"text\ngood\n" + b"a" * (MAX_ROW + 1), ["good"], "a line has more than 1,000,000 characters"),
        ("ndjson", b'{"text": "good"}\n' + b" " * (MAX_ROW + 1) + b"\n", ["good"], "a line has more than 1,000,000 characters"),
        ("csv", b"text\ngood\nbad \xff\n", ["good"], "the file is not UTF-8"),
        ("ndjson", b'{"text": "good"}\n{"text": "\xed\xa0\x80"}\n', ["good"], "the file is not UTF-8"),
        ("csv", b"", [], "the file is empty"),
        ("csv", b"\xef\xbb\xbf\r\n\r\n", [], "the file is empty"),
        ("tsv", b"text,label\ngood,1\n", [], "does not name the column"),
        ("csv", b"text,label,predicted_label\na,b,c\n", [], "it was scored before"),
        ("ndjson", b'{"text": "good"}\n{"label": 1, "predicted_score": 1}\n', ["good"], "it was scored before"),
    ],
)
def test_what_cannot_be_read_has_a_sentence_behind_the_good_rows(kind: str, data: bytes, rows: list[str], sentence: str) -> None:
    for chunks in ([data], pieces(data, range(0, len(data), 60_000))):
        found, error = read(rows_of(kind, "text"), chunks)
        assert [row.text for row in found] == rows
        assert sentence in str(error)


def test_bytes_of_another_encoding_are_told_from_other_breaks() -> None:
    korean = "text\n영화가 좋아요\n".encode("cp949")
    assert isinstance(read(rows_of("csv", "text"), [korean])[1], NotDecoded)
    assert [row.text for row in read(rows_of("csv", "text", "cp949"), [korean])[0]] == ["영화가 좋아요"]
    assert str(read(rows_of("csv", "text", "utf-16"), [b"text\n"])[1]) == "the file is not UTF-16"


def test_file_without_a_header_names_what_it_found() -> None:
    _, error = read(rows_of("csv", "text"), [b"the film was good,1\n"])
    assert isinstance(error, ColumnMissing)
    assert error.found == ["the film was good", "1"]
    assert "film" not in str(error)


def test_ragged_rows_are_filled_or_refused_and_blank_lines_are_no_rows() -> None:
    rows = rows_of("csv", "text")
    found, _ = read(rows, [b"id,text,note\n1\n\n2,good\r\n\r\n3,good,x\n4,good,x,y\n"])
    assert [row.source for row in found] == [["1", "", ""], ["2", "good", ""], ["3", "good", "x"], ["4", "good", "x"]]
    assert [row.problem for row in found] == [None, None, None, "the row has 4 cells, the header 3"]
    assert rows.line(found[3], Answer(None, None, "why")) == b"4,good,x,,,why\n"
    assert rows.failure("why") == b",,,,,why\n"


def test_odd_json_is_an_error_of_its_line_alone() -> None:
    lines = ["{}", "[1]", '"text"', '{"text": NaN}', '{"text": ', "[" * 100_000, '{"text": "\\ud800"}', '{"text": 7}', "{" + "}" * 9]
    rows = rows_of("ndjson", "text")
    found, error = read(rows, ["\n".join([*lines, '{"text": "good"}']).encode()])
    assert error is None
    problems = [row.problem for row in found]
    no_json = "the line is not JSON"
    assert problems[:6] == ["the line does not name the text", *["the line is no JSON object"] * 2, *[no_json] * 3]
    assert problems[6:] == [None, None, no_json, None]
    assert [row.text for row in found[6:8]] == ["\ud800", 7]
    assert rows.line(found[6], Answer(None, None, "why")) == b'{"text": "\\ud800", "error": "why"}\n'
    assert rows.line(found[3], Answer(None, None, "why")) == b'{"error": "why"}\n'


@pytest.mark.parametrize(
    ("start", "piece"),
    [("text\n", "a"), ("text\n", '"a",'), ("", ',""'), ('text\n"', 'a""'), ('text\n"', "\n"), ("", "text,")],
)
def test_each_character_is_looked_at_a_bounded_number_of_times(start: str, piece: str) -> None:
    """A row of a million characters, in small chunks: what is quadratic does not end within the test's life."""
    data = (start + piece * (900_000 // len(piece))).encode()
    small, whole = (read(rows_of("csv", "text"), (data[at : at + size] for at in range(0, len(data), size))) for size in (1_000, len(data)))
    assert small[0] == whole[0]
    assert str(small[1]) == str(whole[1])


def test_names_of_the_answer_give_way_to_those_of_the_file() -> None:
    taken: Callable[[str], tuple[str, ...]] = lambda name: answer_names([name])  # noqa: E731
    assert taken("text") == ("label", "score", "error")
    assert taken("score") == ("predicted_label", "predicted_score", "predicted_error")
    assert taken("predicted_score") == ("label", "score", "error")
