"""CSV and TSV, row by row: the reader finds the separator and the column of the texts in the header."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from serving.tables.labelled import MAX_CHARACTERS
from serving.tables.lines import Lines
from serving.tables.rows import Answer, ColumnMissing, Row, RowsBroken, answer_names

MAX_COLUMNS = 4096  # each row goes out with all columns of the header, even if it came with one cell
CLOSING = re.compile(r'(?:[^"]+|"")*+"')  # from inside a quoted cell to its closing quote


class CsvRows:
    """Rows with a header. Cells may be quoted and contain line ends, as in RFC 4180.

    separators: the reader takes the first one that gives a header with `column`.
    row_is_line: a row never continues on the next line, so a quote that does not close in its line is a plain character. Most TSV is so.
    """

    def __init__(self, column: str, separators: str, encoding: str, *, row_is_line: bool = False) -> None:
        self._column, self._separators, self._row_is_line = column, separators, row_is_line
        self._opening = re.compile(f'[{separators}]"')
        self._lines = Lines(encoding)
        self._pending: list[str] = []  # lines of a row with an open quote
        self._size = 0  # characters of these lines
        self._header: list[str] | None = None

    def feed(self, data: bytes) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(data))

    def end(self) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(b"", final=True))
        if self._pending:
            raise RowsBroken("a quoted cell is never closed: close its quotes")
        if self._header is None:
            raise RowsBroken("the file is empty: send a header and rows")

    def head(self) -> bytes:
        assert self._header is not None
        return self._encode([*self._header, *answer_names(self._header)])

    def line(self, row: Row, answer: Answer) -> bytes:
        return self._encode([*row.source, *answer])

    def failure(self, message: str) -> bytes:
        return self._encode([*[""] * len(self._header or ()), "", "", message])

    def _rows(self, lines: Iterator[str]) -> Iterator[Row]:
        for line in lines:
            is_open = not self._row_is_line and (self._ends_quoted(line) if '"' in line else bool(self._pending))
            self._pending.append(line)
            self._size += len(line)
            if self._size > MAX_CHARACTERS:
                raise RowsBroken(f"a row has more than {MAX_CHARACTERS:,} characters: is a quote never closed?")
            if is_open:
                continue
            text = "".join(self._pending)
            self._pending, self._size = [], 0
            if self._header is None:
                self._read_header(text)
            else:
                literal = self._row_is_line and '"' in text and self._ends_quoted(text)
                if cells := _cells(text, self._separators, literal=literal):
                    yield self._row(cells)

    def _ends_quoted(self, line: str) -> bool:
        """Return whether a quoted cell is open at the end of this next line of the row."""
        inside, position = bool(self._pending), 0
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

    def _read_header(self, text: str) -> None:
        if not text.strip():
            return
        headers: dict[str, list[str]] = {}
        for separator in self._separators:
            with suppress(RowsBroken):
                headers[separator] = _cells(text, separator)
        if not headers:
            raise RowsBroken("the header is not CSV: write it as RFC 4180 says")
        for separator, names in headers.items():
            if self._column in names:
                if len(names) > MAX_COLUMNS:
                    raise RowsBroken(f"the header names more than {MAX_COLUMNS:,} columns: remove those that you do not need")
                answer_names(names)
                self._header, self._separators, self._opening = names, separator, re.compile(re.escape(f'{separator}"'))
                self._place = names.index(self._column)
                return
        raise ColumnMissing(next(iter(headers.values())))

    def _row(self, cells: list[str]) -> Row:
        assert self._header is not None
        width = len(self._header)
        problem = (
            f"the row has {len(cells)} cells, the header {width}: quote a cell that contains the separator" if len(cells) > width else None
        )
        cells = (cells + [""] * width)[:width]
        return Row(cells[self._place], cells, problem)

    def _encode(self, cells: list[Any]) -> bytes:
        line = io.StringIO()
        csv.writer(line, delimiter=self._separators[0]).writerow(cells)  # with its line end \r\n it quotes cells that contain \r
        return f"{line.getvalue()[:-2]}\n".encode("utf-8", "backslashreplace")


def _cells(text: str, separator: str, *, literal: bool = False) -> list[str]:
    """Return the cells of one row. literal: whether a quote is a plain character."""
    csv.field_size_limit(MAX_CHARACTERS)  # the limit belongs to the process, and other code may have changed it
    try:
        return next(csv.reader([text], delimiter=separator, quoting=csv.QUOTE_NONE if literal else csv.QUOTE_MINIMAL), [])
    except csv.Error:
        raise RowsBroken("a row is not CSV: write it as RFC 4180 says") from None
