"""Files of texts, row by row: CSV, TSV or NDJSON comes in as chunks of bytes, and goes out again with an answer at each row.

Nothing is held but the row that is not complete yet. Used by `POST /predict/file` and by `python -m serving.score`.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from serving.inference.labels import label_name

if TYPE_CHECKING:
    from serving.inference.classifier import Predictions

MAX_ROW = 1_000_000  # characters
MAX_COLUMNS = 4096  # each row comes out with all of them, however short it came
ANSWER = ("label", "score", "error")
ENDINGS = {".csv": "csv", ".tsv": "tsv", ".ndjson": "ndjson", ".jsonl": "ndjson"}  # kind by the end of a file's name
MEDIA_TYPES = {"csv": "text/csv", "tsv": "text/tab-separated-values", "ndjson": "application/x-ndjson"}
SEPARATORS = {"csv": ",;\t|", "tsv": "\t"}  # the first under which the header has the text's column is taken
CLOSING = re.compile(r'(?:[^"]+|"")*+"')


class RowsBroken(Exception):
    """A file that cannot be read any further; the text is a sentence for the user and holds nothing of the file."""


class ColumnMissing(RowsBroken):
    """A header without the text's column. found: the names in it."""

    def __init__(self, found: list[str]) -> None:
        super().__init__("the header does not name the column with the texts")
        self.found = found


class NotDecoded(RowsBroken):
    """Bytes that are not of the encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(f"the file is not {encoding.upper().removesuffix('-SIG')}")


class Row(NamedTuple):
    """text: what is to be classified, whatever it is. source: the row as it came, for its reader. problem: why it cannot be read."""

    text: object
    source: Any
    problem: str | None = None


class Answer(NamedTuple):
    """Label and score of a row, or the error that it has in their place."""

    label: str | None
    score: float | None
    error: str | None


class Rows(Protocol):
    """A file that is read and written row by row."""

    def feed(self, data: bytes) -> Iterator[Row]:
        """Yield the rows that are complete with this chunk; raise RowsBroken behind the last good one."""

    def end(self) -> Iterator[Row]:
        """Yield what is left, now that no chunk follows; raise RowsBroken where it is no row."""

    def head(self) -> bytes:
        """Return what stands before the first row; to be asked after a row was read, or the end."""

    def line(self, row: Row, answer: Answer) -> bytes:
        """Return a row with its answer."""

    def failure(self, sentence: str) -> bytes:
        """Return a last row that tells why none follows."""


def rows_of(kind: str, column: str, encoding: str = "utf-8-sig") -> Rows:
    """Return the reader of a kind of file: csv, tsv or ndjson. column: name of the texts' column or key."""
    if kind == "ndjson":
        return NdjsonRows(column, encoding)
    return CsvRows(column, SEPARATORS[kind], encoding, row_is_line=kind == "tsv")


class _Lines:
    """Cuts chunks of bytes into lines with their ends (LF, CR LF or CR)."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ends = io.IncrementalNewlineDecoder(None, translate=False)  # keeps a CR back that may be half of a line end
        self._parts: list[str] = []  # of the line that is not complete yet
        self._size = 0

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[str]:
        """Give the lines that the bytes complete; raise NotDecoded behind those that stand before a byte that is no text."""
        broken = None
        try:
            text = self._decoder.decode(data, final)
        except UnicodeError as error:
            text = error.object[: error.start].decode(error.encoding) if isinstance(error, UnicodeDecodeError) else ""
            broken = NotDecoded(self._encoding)
        for part in io.StringIO(self._ends.decode(text, final or broken is not None), newline=""):
            self._parts.append(part)
            self._size += len(part)
            if self._size > MAX_ROW:
                raise RowsBroken(f"a line has more than {MAX_ROW:,} characters")
            if part.endswith(("\n", "\r")):
                yield self._taken()
        if broken:
            raise broken
        if final and self._parts:
            yield self._taken()

    def _taken(self) -> str:
        line = "".join(self._parts)
        self._parts, self._size = [], 0
        return line


class CsvRows:
    """Rows with a header; cells may be quoted and hold line ends, as RFC 4180 has it.

    row_is_line: a quote that is not closed in its line is a character like others, as TSV is written mostly.
    """

    def __init__(self, column: str, separators: str, encoding: str, *, row_is_line: bool = False) -> None:
        self._column, self._separators, self._row_is_line = column, separators, row_is_line
        self._opening = re.compile(f'[{separators}]"')
        self._lines = _Lines(encoding)
        self._open: list[str] = []  # lines of a row with an open quote
        self._size = 0
        self._header: list[str] | None = None
        csv.field_size_limit(MAX_ROW)

    def feed(self, data: bytes) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(data))

    def end(self) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(b"", final=True))
        if self._open:
            raise RowsBroken("a quoted cell is never closed")
        if self._header is None:
            raise RowsBroken("the file is empty")

    def head(self) -> bytes:
        assert self._header is not None
        return self._written([*self._header, *answer_names(self._header)])

    def line(self, row: Row, answer: Answer) -> bytes:
        return self._written([*row.source, *answer])

    def failure(self, sentence: str) -> bytes:
        return self._written([*[""] * len(self._header or ()), "", "", sentence])

    def _rows(self, lines: Iterator[str]) -> Iterator[Row]:
        for line in lines:
            goes_on = not self._row_is_line and (self._ends_quoted(line) if '"' in line else bool(self._open))
            self._open.append(line)
            self._size += len(line)
            if self._size > MAX_ROW:
                raise RowsBroken(f"a row has more than {MAX_ROW:,} characters: is a quote never closed?")
            if goes_on:
                continue
            record = "".join(self._open)
            self._open, self._size = [], 0
            if self._header is None:
                self._read_header(record)
            else:
                literal = self._row_is_line and '"' in record and self._ends_quoted(record)
                if cells := _cells(record, self._separators, literal=literal):
                    yield self._row(cells)

    def _ends_quoted(self, line: str) -> bool:
        """Tell whether a row is inside of a quoted cell at the end of its next line."""
        inside, position = bool(self._open), 0
        if not inside and line.startswith('"'):
            inside, position = True, 1
        while True:
            if inside:
                closing = CLOSING.match(line, position)
                if not closing:
                    return True
                position = closing.end()
            opening = self._opening.search(line, position)
            if not opening:
                return False
            inside, position = True, opening.end()

    def _read_header(self, record: str) -> None:
        if not record.strip():
            return
        headers: dict[str, list[str]] = {}
        for separator in self._separators:
            with suppress(RowsBroken):
                headers[separator] = _cells(record, separator)
        if not headers:
            raise RowsBroken("the header cannot be read as CSV")
        for separator, names in headers.items():
            if self._column in names:
                if len(names) > MAX_COLUMNS:
                    raise RowsBroken(f"the header names more than {MAX_COLUMNS:,} columns")
                answer_names(names)
                self._header, self._separators, self._opening = names, separator, re.compile(re.escape(f'{separator}"'))
                self._place = names.index(self._column)
                return
        raise ColumnMissing(next(iter(headers.values())))

    def _row(self, cells: list[str]) -> Row:
        assert self._header is not None
        width = len(self._header)
        problem = f"the row has {len(cells)} cells, the header {width}" if len(cells) > width else None
        cells = (cells + [""] * width)[:width]
        return Row(cells[self._place], cells, problem)

    def _written(self, cells: list[Any]) -> bytes:
        line = io.StringIO()
        csv.writer(line, delimiter=self._separators[0]).writerow(cells)  # its own line end, so that it quotes cells with a return
        return f"{line.getvalue()[:-2]}\n".encode("utf-8", "backslashreplace")


def _cells(record: str, separator: str, *, literal: bool = False) -> list[str]:
    """literal: a quote is a character like others."""
    try:
        return next(csv.reader([record], delimiter=separator, quoting=csv.QUOTE_NONE if literal else csv.QUOTE_MINIMAL), [])
    except csv.Error:
        raise RowsBroken("a row cannot be read as CSV") from None


class NdjsonRows:
    """Rows of NDJSON: an object a line."""

    def __init__(self, column: str, encoding: str) -> None:
        self._column = column
        self._lines = _Lines(encoding)

    def feed(self, data: bytes) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(data))

    def end(self) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(b"", final=True))

    def head(self) -> bytes:
        return b""

    def line(self, row: Row, answer: Answer) -> bytes:
        line, names = row.source
        return _added(line, {name: value for name, value in zip(names, answer, strict=True) if value is not None})

    def failure(self, sentence: str) -> bytes:
        return _added("{}", {"error": sentence})

    def _rows(self, lines: Iterator[str]) -> Iterator[Row]:
        for line in lines:
            if line.strip():
                yield self._row(line)

    def _row(self, line: str) -> Row:
        try:
            row = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return Row(None, ("{}", ANSWER), "the line is not JSON")
        if not isinstance(row, dict):
            return Row(None, ("{}", ANSWER), "the line is no JSON object")
        source = line.strip(), answer_names(row)
        if self._column not in row:
            return Row(None, source, "the line does not name the text")
        return Row(row[self._column], source)


def answers_of(problems: Sequence[str | None], predictions: "Predictions") -> list[Answer]:
    """Return an answer for each row. problems: why a row has none; the predictions are those of the other rows."""
    found = zip(predictions.label_ids.tolist(), predictions.scores.tolist(), strict=True)
    answers = []
    for problem in problems:
        if problem:
            answers.append(Answer(None, None, problem))
        else:
            label_id, score = next(found)
            answers.append(Answer(label_name(label_id), score, None))
    return answers


def answer_names(taken: list[str] | dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the answer's columns: label, score, error, or predicted_... where the file has one of these."""
    for names in (ANSWER, tuple(f"predicted_{name}" for name in ANSWER)):
        if not any(name in taken for name in names):
            return names
    raise RowsBroken("the file has a column predicted_... already: it was scored before")


def _added(line: str, answer: dict[str, Any]) -> bytes:
    """Add the answer to an object, whose own text stays as it came; a lone surrogate in it stays an escape."""
    start = line[:-1].rstrip()
    comma = "" if start == "{" else ", "
    return f"{start}{comma}{json.dumps(answer, ensure_ascii=False)[1:]}\n".encode("utf-8", "backslashreplace")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
