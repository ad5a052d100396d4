"""NDJSON, row by row: each line is a JSON object."""

import json
from collections.abc import Iterator
from typing import Any

from serving.tables.lines import Lines
from serving.tables.rows import ANSWER, Answer, Row, answer_names


class NdjsonRows:
    """Rows of NDJSON. A line that is not an object is a row with a problem."""

    def __init__(self, column: str, encoding: str) -> None:
        self._column = column
        self._lines = Lines(encoding)

    def feed(self, data: bytes) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(data))

    def end(self) -> Iterator[Row]:
        yield from self._rows(self._lines.feed(b"", final=True))

    def head(self) -> bytes:
        return b""

    def line(self, row: Row, answer: Answer) -> bytes:
        line, names = row.source
        return _with_answer(line, {name: value for name, value in zip(names, answer, strict=True) if value is not None})

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
            return Row(None, ("{}", ANSWER), "the line is not JSON: write one object per line")
        if not isinstance(row, dict):
            return Row(None, ("{}", ANSWER), "the line is not a JSON object: write one per line")
        source = line.strip(), answer_names(row)
        if self._column not in row:
            return Row(None, source, "the line does not have the key of the text: add it, or name another column")
        return Row(row[self._column], source)


def _with_answer(line: str, answer: dict[str, Any]) -> bytes:
    """Add the answer to an object, whose own characters stay. A lone surrogate in them stays an escape."""
    start = line[:-1].rstrip()
    comma = "" if start == "{" else ", "
    return f"{start}{comma}{json.dumps(answer, ensure_ascii=False)[1:]}\n".encode("utf-8", "backslashreplace")


def _refuse_constant(name: str) -> None:
    """Raise ValueError for NaN or Infinity, which Python reads but JSON does not have."""
    raise ValueError(f"{name} is not JSON")
