"""A JSON list of any length, read one element at a time, or a JSON object that holds records.

In: a JSON file. Out: its elements. Of a list, memory holds one element and one chunk of the file; an object is read as a whole.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from serving.tables.csv_records import not_decoded
from serving.tables.errors import FileUnreadable
from serving.tables.files import ReadObserver, Shard, opened
from serving.tables.labelled import AUTO, MAX_CHARACTERS
from serving.tables.names import names_both

CHUNK = 2**18  # characters per read
DECODER = json.JSONDecoder()
NOT_BLANK = re.compile(r"[^ \t\r\n]")
MAX_OBJECT = 2**26  # characters of an object, which takes some ten times as many bytes of memory
CUT_OFF = "it may be cut off, download it again"


def elements_of(shard: Shard, encoding: str, observer: ReadObserver) -> Iterator[Any]:
    """Yield the elements.

    Raises FileUnreadable if the file is not a complete list, or has an element of over MAX_CHARACTERS characters.
    """
    number = 0
    with opened(shard, observer) as stream:
        window = _Window(io.TextIOWrapper(io.BufferedReader(stream, CHUNK), encoding=encoding))
        try:
            if window.next_character() == "{" and (records := _records_of(window.rest(MAX_OBJECT))) is not None:
                yield from records
                return
            if window.next_character() != "[":
                raise _no_list(shard, window.next_character())
            window.at += 1
            ended = window.next_character() == "]"
            while not ended:
                number += 1
                yield window.element()
                if window.next_character() not in (",", "]"):
                    raise FileUnreadable(shard.file, f"is not complete JSON (record {number:,} is not followed by , or ])", CUT_OFF)
                ended = window.next_character() == "]"
                window.at += not ended
            window.at += 1
            if window.next_character():
                raise FileUnreadable(shard.file, "continues after the end of its JSON list", "give one list of records")
        except OverflowError:
            raise FileUnreadable(
                shard.file, f"has over {MAX_CHARACTERS:,} characters in record {number:,}", "check that the file is a list of texts"
            ) from None
        except UnicodeError as error:
            raise not_decoded(shard, error, f"record {max(0, number - 1):,}") from None
        except RecursionError:
            raise FileUnreadable(shard.file, f"has too deeply nested brackets in record {number:,}", "correct that record") from None
        except ValueError as error:
            problem = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise FileUnreadable(shard.file, f"is not complete JSON (record {number:,}: {problem})", CUT_OFF) from None


def _records_of(text: str) -> list[Any] | None:
    """Return the records of an object, or None if it holds none.

    Records are in one list, as in `{"data": [...]}`, or in the forms that `DataFrame.to_json` writes: columns, index, split and table.
    """
    try:
        value = json.loads(text)
    except ValueError:
        return None
    names, rows = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(rows, list):
        return [dict(zip(map(_column_name, names), row, strict=False)) if isinstance(row, list) else row for row in rows]
    lists = [found for found in value.values() if isinstance(found, list) and found and all(isinstance(record, dict) for record in found)]
    if len(lists) == 1:
        return lists[0]
    inner = list(value.values())
    if inner and all(isinstance(part, dict) and part.keys() == inner[0].keys() for part in inner):
        if names_both(list(inner[0]), AUTO, AUTO) and not names_both(list(value), AUTO, AUTO):
            return inner
        if len(inner) > 1:
            return [{name: column[key] for name, column in value.items()} for key in inner[0]]
    return None


def _column_name(name: Any) -> str:
    """Return the name of a column: of several levels the last, of an object its `name`, and a number as a text."""
    if isinstance(name, list) and name:
        return _column_name(name[-1])
    return str(name.get("name", name) if isinstance(name, dict) else name)


def _no_list(shard: Shard, first: str) -> FileUnreadable:
    if not first:
        return FileUnreadable(shard.file, "is empty", "give a file with labelled texts")
    if first == "{":
        return FileUnreadable(
            shard.file,
            "holds a JSON object, not a list of records",
            "rename it to .jsonl if each line is an object, or write a list of records; of AI Hub, give 감성대화말뭉치",
        )
    return FileUnreadable(shard.file, f"is not complete JSON (it begins with {first!r})", CUT_OFF)


class _Window:
    """A window on a text, which reads more when needed. at: the position of the next character."""

    def __init__(self, reader: TextIO) -> None:
        self._reader = reader
        self._chunk = ""
        self.at = 0

    def next_character(self) -> str:
        """Go to the next character that is not blank and return it, or nothing at the end."""
        while True:
            found = NOT_BLANK.search(self._chunk, self.at)
            if found:
                self.at = found.start()
                return found[0]
            self.at = len(self._chunk)
            if not self._more():
                return ""

    def element(self) -> Any:
        """Return the next value; raise JSONDecodeError if it is broken, or OverflowError if it is too long."""
        self.next_character()
        while True:
            try:
                value, end = DECODER.raw_decode(self._chunk, self.at)
            except json.JSONDecodeError:
                if self._more():
                    continue
                raise
            if end == len(self._chunk) and self._more():  # a number may continue
                continue
            self.at = end
            return value

    def rest(self, limit: int) -> str:
        """Return the text from here to its end, or its first `limit` characters."""
        self._chunk += self._reader.read(max(0, limit - len(self._chunk) + self.at))
        return self._chunk[self.at : self.at + limit]

    def _more(self) -> bool:
        rest = self._chunk[self.at :]
        if len(rest) > MAX_CHARACTERS:
            raise OverflowError
        read = self._reader.read(max(CHUNK, len(rest)))
        self._chunk, self.at = rest + read, 0
        return bool(read)
