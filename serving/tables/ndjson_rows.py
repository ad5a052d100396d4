"""NDJSON, row by row: each line is a JSON object."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from serving.tables.columns import named_columns
from serving.tables.errors import FileUnreadable
from serving.tables.labelled import AUTO, ReadOptions
from serving.tables.lines import Lines
from serving.tables.names import LABEL, TEXT, has_sure_name, named
from serving.tables.rows import MAX_COLUMNS, Answer, Row, answer_columns, answer_names


class NdjsonRows:
    """Rows of NDJSON. A line that is not an object is a row with a problem.

    column: key of the texts, or `auto`. The first object that has a fitting key settles it. answer: the columns of an answer.
    """

    def __init__(self, column: str, encoding: str, *, answer: Sequence[str] = answer_columns()) -> None:
        self._options = ReadOptions(None, text_column=column, has_labels=False)
        self._key: str | None = None
        self._answer = answer
        self._lines = Lines(encoding)
        self.column = column

    def feed(self, data: bytes) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(data))

    def end(self) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(b"", final=True))

    def head(self) -> bytes:
        return b""

    def line(self, row: Row, answer: Answer) -> bytes:
        line, names = row.source
        return _with_answer(line, {name: value for name, value in zip(names, answer.values, strict=True) if value is not None})

    def failure(self, message: str) -> bytes:
        return _with_answer("{}", {"error": message})

    def _rows(self, lines: Iterator[str]) -> Iterator[Row]:
        for line in lines:
            if line.strip():
                yield self._row(line)

    def _row(self, line: str) -> Row:
        try:
            row = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return Row(None, ("{}", self._answer), "the line is not JSON: write one object per line")
        if not isinstance(row, dict):
            return Row(None, ("{}", self._answer), "the line is not a JSON object: write one per line")
        source = line.strip(), answer_names(row, self._answer)
        if self._key is None:
            self._find_key(row)
        if self._key not in row:
            return Row(None, source, "the line does not have the key of the text: add it, or name another column")
        return Row(row[self._key], source)

    def _find_key(self, row: dict[str, Any]) -> None:
        """Settle the key, if one of the first keys of the object fits: by its name, else by its values. A key of labels never fits."""
        keys = list(islice(row, MAX_COLUMNS))
        if self._options.text_column == AUTO:
            known = named(keys, AUTO, TEXT)
            if len(known) == 1 or has_sure_name(keys, TEXT):
                self._key = self.column = keys[known[0]]
                return
            labels = {keys[place] for place in named(keys, AUTO, LABEL)}
            keys = [key for key in keys if key not in labels]
        values = [value if isinstance(value := row[key], str) else "" for key in keys]
        with suppress(FileUnreadable):
            self._key = self.column = keys[named_columns(Path("-"), keys, [values], self._options).text]


def _with_answer(line: str, answer: dict[str, Any]) -> bytes:
    """Add the answer to an object, whose own characters stay. A lone surrogate in them stays an escape."""
    start = line[:-1].rstrip()
    comma = "" if start == "{" else ", "
    return f"{start}{comma}{json.dumps(answer, ensure_ascii=False)[1:]}\n".encode("utf-8", "backslashreplace")


def _refuse_constant(name: str) -> None:
    """Raise ValueError for NaN or Infinity, which Python reads but JSON does not have."""
    raise ValueError(f"{name} is not JSON")
