"""CSV and TSV, row by row."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from serving.tables.lines import Lines
from serving.tables.rows import MAX_ROW, Answer, ColumnMissing, Row, RowsBroken, answer_names

MAX_COLUMNS = 4096  # each row comes out with all of them, however short it came
CLOSING = re.compile(r'(?:[^"]+|"")*+"')


class CsvRows:
    """Rows with a header; cells may be quoted and hold line ends, as RFC 4180 has it.

    row_is_line: a quote that is not closed in its line is a character like others, as TSV is written mostly.
    """

    def __init__(self, column: str, separators: str, encoding: str, *, row_is_line: bool = False) -> None:
        self._column, self._separators, self._row_is_line = column, separators, row_is_line
        self._opening = re.compile(f'[{separators}]"')
        self._lines = Lines(encoding)
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
