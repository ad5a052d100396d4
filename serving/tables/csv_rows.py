"""CSV and TSV, row by row: the reader finds the separator, the header and the column of the texts, as `preprocess` does."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import starmap
from pathlib import Path
from typing import Any

from serving.tables.columns import LOOKED_AT, NO_TEXTS, columns_of
from serving.tables.delimited import LINE_END, SAMPLE_ROWS, SWALLOWED, separator_of, swallowed_rows
from serving.tables.errors import ColumnNotFound, FileUnreadable, HeaderNotFound
from serving.tables.labelled import AUTO, MAX_CHARACTERS, Columns, ReadOptions
from serving.tables.lines import Lines
from serving.tables.names import TEXT, has_known_name, has_sure_name, named
from serving.tables.rows import MAX_COLUMNS, Answer, ColumnMissing, ColumnUnsure, Row, RowsBroken, answer_columns, answer_names

MANY_LINES = 5  # of a quoted text that are rows: fewer may be a list in the text
EXCEL = re.compile(r"sep=.")  # a line for Excel, which is not part of the table
CLOSING = re.compile(r'(?:[^"]+|"")*+"')  # from inside a quoted cell to its closing quote


class CsvRows:
    """Rows of cells. Cells may be quoted and contain line ends, as in RFC 4180.

    column: name or number of the column with the texts, or `auto`. separators: those that the file may have.
    row_is_line: a row never continues on the next line, so a quote that does not close in its line is a plain character. Most TSV is so.
    answer: the columns of an answer.

    The first row settles the columns if it has the name. Otherwise the first rows wait until there are enough.
    If no more come for now, a known name of a text column in the first row settles them. Without one, titles may stand above the header.
    """

    def __init__(
        self, column: str, separators: str, encoding: str, *, row_is_line: bool = False, answer: Sequence[str] = answer_columns()
    ) -> None:
        self._options = ReadOptions(None, text_column=column, has_labels=False, allow_extra_fields=True)
        self._separators, self._row_is_line, self._answer = separators, row_is_line, answer
        self._opening = re.compile(f'[{separators}]"')
        self._lines = Lines(encoding)
        self._pending: list[str] = []  # lines of a row with an open quote
        self._size = 0  # characters of these lines
        self._first: list[str] = []  # lines that wait for the columns
        self._looked = False  # for the name in the first row
        self._columns: Columns | None = None
        self.column = column

    def feed(self, data: bytes) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(data))
        if not data and len(self._first) > 1 and self._knows_a_name(self._first[0]):  # a header alone does not tell its columns
            yield from self._first_rows()

    def end(self) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(b"", final=True))
        yield from self._first_rows()
        if self._pending:
            raise RowsBroken("a quoted cell is never closed: close its quotes")
        if self._columns is None:
            raise RowsBroken("the file is empty: send a header and rows")

    def head(self) -> bytes:
        assert self._columns is not None
        names = self._columns.names
        return b"" if names is None else self._encode([*names, *self._answer])

    def line(self, row: Row, answer: Answer) -> bytes:
        return self._encode([*row.source, *answer.values])

    def failure(self, message: str) -> bytes:
        width = self._columns.width if self._columns else 0
        return self._encode([*[""] * (width + len(self._answer) - 1), message])

    def _rows(self, lines: Iterator[str]) -> Iterator[Row]:
        try:
            for line in lines:
                if self._columns is None:
                    yield from self._first_line(line)
                elif not self._pending and '"' not in line:
                    if cells := _cells(line, self._separators):
                        yield self._row(cells)
                elif (text := self._complete(line)) is not None and (cells := self._split(text)):
                    yield self._checked(text, cells)
        except RowsBroken:
            yield from self._first_rows()
            raise

    def _complete(self, line: str) -> str | None:
        """Return the row that this next line completes, or None if a quoted cell is open at its end."""
        is_open = not self._row_is_line and (self._ends_quoted(line) if '"' in line else bool(self._pending))
        self._pending.append(line)
        self._size += len(line)
        if self._size > MAX_CHARACTERS:
            raise RowsBroken(f"a row has more than {MAX_CHARACTERS:,} characters: is a quote never closed?")
        if is_open:
            return None
        text = "".join(self._pending)
        self._pending, self._size = [], 0
        return text

    def _split(self, text: str) -> list[str]:
        return _cells(text, self._separators, literal=self._row_is_line and '"' in text and self._ends_quoted(text))

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

    def _first_line(self, line: str) -> Iterator[Row]:
        """Keep one of the first lines; yield their rows when the columns are known. Blank lines before them do not count."""
        if not self._first and (not line.strip() or EXCEL.fullmatch(line.strip())):
            return
        self._first.append(line)
        if not self._looked and (text := self._complete(line)) is not None:
            self._looked = True
            if found := self._named(text):
                self._first = []
                self._start(*found)
                return
        if len(self._first) >= SAMPLE_ROWS or sum(map(len, self._first)) >= MAX_CHARACTERS:
            yield from self._first_rows()

    def _named(self, text: str) -> tuple[Columns, str] | None:
        """Return the columns and the separator if a first row has the name of the text column, so that no values need to tell."""
        wanted = self._options.text_column
        for separator in self._separators:
            with suppress(RowsBroken):
                names = _cells(text, separator)
                places = [] if wanted.isdecimal() else named(names, wanted, TEXT)
                if places and (wanted != AUTO or has_sure_name(names, TEXT)):
                    return Columns(places[0], (), len(names), names), separator
        return None

    def _knows_a_name(self, line: str) -> bool:
        return any(has_known_name(_cells(line, separator), TEXT) for separator in self._separators)

    def _first_rows(self) -> Iterator[Row]:
        """Find the columns by the lines that wait, and yield their rows but for a header."""
        if not self._first:
            return
        lines, self._first = self._first, []
        self._pending, self._size = [], 0
        self._set_separator(separator_of(lines, self._options, self._separators))
        read = [(text, cells) for line in lines if (text := self._complete(line)) is not None and (cells := self._split(text))]
        rows = [cells for _, cells in read]
        if not rows:
            return
        _refuse_width(max(map(len, rows)))
        try:
            columns = columns_of(Path("-"), rows, self._options)
        except (ColumnNotFound, HeaderNotFound):
            raise ColumnMissing(rows[0]) from None
        except FileUnreadable as error:
            raise ColumnUnsure(error) from None
        self._start(columns, self._separators)
        yield from starmap(self._checked, read[columns.rows_above :])

    def _set_separator(self, separator: str) -> None:
        self._separators, self._opening = separator, re.compile(re.escape(f'{separator}"'))

    def _start(self, columns: Columns, separator: str) -> None:
        _refuse_width(columns.width)
        self._set_separator(separator)
        self._columns = columns
        self._answer = answer_names(columns.names or (), self._answer)
        self.column = columns.facts.text_column[0]

    def _checked(self, text: str, cells: list[str]) -> Row:
        """Return the row in a text with quotes; raise RowsBroken if a cell has swallowed other rows."""
        assert self._columns is not None
        if any(map(LINE_END.search, cells)) and _has_swallowed(text, cells, self._columns, self._separators):
            raise RowsBroken(f"the next row has {SWALLOWED[0]}: {SWALLOWED[1]}")
        return self._row(cells)

    def _row(self, cells: list[str]) -> Row:
        assert self._columns is not None
        width = self._columns.width
        problem = (
            f"the row has {len(cells)} cells, the header {width}: quote a cell that contains the separator" if len(cells) > width else None
        )
        cells = (cells + [""] * width)[:width]
        return Row(cells[self._columns.text], cells, problem)

    def _encode(self, cells: list[Any]) -> bytes:
        line = io.StringIO()
        csv.writer(line, delimiter=self._separators[0]).writerow(cells)  # with its line end \r\n it quotes cells that contain \r
        return f"{line.getvalue()[:-2]}\n".encode("utf-8", "backslashreplace")


def _refuse_width(columns: int) -> None:
    if columns > MAX_COLUMNS:
        raise RowsBroken(f"the file has more than {MAX_COLUMNS:,} columns: remove those that you do not need")


def _cells(text: str, separator: str, *, literal: bool = False) -> list[str]:
    """Return the cells of one row. literal: whether a quote is a plain character."""
    csv.field_size_limit(MAX_CHARACTERS)  # the limit belongs to the process, and other code may have changed it
    try:
        return next(csv.reader([text], delimiter=separator, quoting=csv.QUOTE_NONE if literal else csv.QUOTE_MINIMAL), [])
    except csv.Error:
        raise RowsBroken("a row is not CSV: write it as RFC 4180 says") from None


def _has_swallowed(text: str, cells: list[str], columns: Columns, separator: str) -> bool:
    """Tell whether a cell of several lines holds rows. No label tells them here.

    If text follows its closing quote, one line with all columns is a row. Else most lines must be rows, with a number, date, link or id
    where this row has one.
    """
    try:
        next(csv.reader([text], delimiter=separator, strict=True), [])
    except csv.Error:
        return any(swallowed_rows(cells, replace(columns, is_known=True), separator, bool))
    marks = ((place, pattern) for place, cell in enumerate(cells) for pattern in NO_TEXTS.values() if pattern.fullmatch(cell[:LOOKED_AT]))
    place, pattern = next(marks, (0, None))
    if pattern is None:
        return False
    rows = swallowed_rows(cells, replace(columns, labels=(place,)), separator, lambda value: bool(pattern.fullmatch(value[:LOOKED_AT])))
    return sum(rows) >= max(MANY_LINES, len(rows) - 1)
