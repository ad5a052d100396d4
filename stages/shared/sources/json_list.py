"""The elements of a JSON list of any length, one after another: in memory is one of them and a piece of the file."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from stages.shared.errors import FileUnreadable
from stages.shared.sources.delimited import MAX_LINE, not_decoded
from stages.shared.sources.files import ReadObserver, Shard, opened

CHUNK = 2**18  # characters that are read at a time
DECODER = json.JSONDecoder()
NO_BLANK = re.compile(r"[^ \t\r\n]")
CUT_OFF = "it may be cut off, get it again"


def elements_of(shard: Shard, encoding: str, watch: ReadObserver) -> Iterator[Any]:
    """Yield the elements; raise FileUnreadable where the file is no list, is not whole, or has an element of over MAX_LINE characters."""
    number = 0
    with opened(shard, watch) as stream:
        window = _Window(io.TextIOWrapper(io.BufferedReader(stream, CHUNK), encoding=encoding))
        try:
            if window.sign() != "[":
                raise _no_list(shard, window.sign())
            window.at += 1
            ended = window.sign() == "]"
            while not ended:
                number += 1
                yield window.element()
                if window.sign() not in (",", "]"):
                    raise FileUnreadable(shard.file, f"is no complete JSON (record {number:,} is not followed by , or ])", CUT_OFF)
                ended = window.sign() == "]"
                window.at += not ended
            window.at += 1
            if window.sign():
                raise FileUnreadable(shard.file, "goes on after the end of its JSON list", "give one list of records")
        except OverflowError:
            raise FileUnreadable(shard.file, f"has over {MAX_LINE:,} characters in record {number:,}", "it is no list of texts") from None
        except UnicodeError as error:
            raise not_decoded(shard, error, f"record {max(0, number - 1):,}") from None
        except RecursionError:
            raise FileUnreadable(shard.file, f"has too many brackets in brackets in record {number:,}", "correct that record") from None
        except ValueError as error:
            problem = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise FileUnreadable(shard.file, f"is no complete JSON (record {number:,}: {problem})", CUT_OFF) from None


def _no_list(shard: Shard, sign: str) -> FileUnreadable:
    if not sign:
        return FileUnreadable(shard.file, "is empty", "give a file with labelled texts")
    if sign == "{":
        return FileUnreadable(
            shard.file,
            "holds a JSON object, not a list of records",
            "rename it to .jsonl if it has one object a line; of AI Hub the emotional dialogues (감성대화말뭉치) are read",
        )
    return FileUnreadable(shard.file, f"is no complete JSON (it begins with {sign!r})", CUT_OFF)


class _Window:
    """A piece of a text that is read on as it is needed. at: where the next sign is looked for."""

    def __init__(self, reader: TextIO) -> None:
        self._reader = reader
        self._piece = ""
        self.at = 0

    def sign(self) -> str:
        """Go to the next character that is no blank, and return it; nothing at the end."""
        while True:
            found = NO_BLANK.search(self._piece, self.at)
            if found:
                self.at = found.start()
                return found[0]
            self.at = len(self._piece)
            if not self._more():
                return ""

    def element(self) -> Any:
        """Return the next value; raise JSONDecodeError, or OverflowError where it is too long."""
        self.sign()
        while True:
            try:
                value, end = DECODER.raw_decode(self._piece, self.at)
            except json.JSONDecodeError:
                if self._more():
                    continue
                raise
            if end == len(self._piece) and self._more():  # a number may go on
                continue
            self.at = end
            return value

    def _more(self) -> bool:
        rest = self._piece[self.at :]
        if len(rest) > MAX_LINE:
            raise OverflowError
        read = self._reader.read(max(CHUNK, len(rest)))
        self._piece, self.at = rest + read, 0
        return bool(read)
