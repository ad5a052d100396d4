"""A JSON list of any length, read one element at a time.

In: a JSON file. Out: its elements. Memory holds one element and one chunk of the file.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from stages.shared.errors import FileUnreadable
from stages.shared.sources.delimited import not_decoded
from stages.shared.sources.files import ReadObserver, Shard, opened
from stages.shared.sources.rows import MAX_CHARACTERS

CHUNK = 2**18  # characters per read
DECODER = json.JSONDecoder()
NOT_BLANK = re.compile(r"[^ \t\r\n]")
CUT_OFF = "it may be cut off, download it again"


def elements_of(shard: Shard, encoding: str, observer: ReadObserver) -> Iterator[Any]:
    """Yield the elements.

    Raises FileUnreadable if the file is not a complete list, or has an element of over MAX_CHARACTERS characters.
    """
    number = 0
    with opened(shard, observer) as stream:
        window = _Window(io.TextIOWrapper(io.BufferedReader(stream, CHUNK), encoding=encoding))
        try:
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


def _no_list(shard: Shard, first: str) -> FileUnreadable:
    if not first:
        return FileUnreadable(shard.file, "is empty", "give a file with labelled texts")
    if first == "{":
        return FileUnreadable(
            shard.file,
            "holds a JSON object, not a list of records",
            "rename it to .jsonl if each line is an object; of AI Hub, give the emotional dialogues (감성대화말뭉치)",
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

    def _more(self) -> bool:
        rest = self._chunk[self.at :]
        if len(rest) > MAX_CHARACTERS:
            raise OverflowError
        read = self._reader.read(max(CHUNK, len(rest)))
        self._chunk, self.at = rest + read, 0
        return bool(read)
