"""The lines of a file and the records in them, by the rules of CSV. In: a shard, and how it is written. Out: lines, or lists of fields."""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from serving.tables.encoding import encoding_of
from serving.tables.errors import FileUnreadable
from serving.tables.files import ReadObserver, Shard, opened
from serving.tables.labelled import AUTO, MAX_CHARACTERS, ReadOptions

QUOTINGS: dict[str, Literal[0, 3]] = {
    "csv": csv.QUOTE_MINIMAL,
    "backslash": csv.QUOTE_MINIMAL,
    "twice": csv.QUOTE_MINIMAL,
    "none": csv.QUOTE_NONE,
}
BACKSLASH = re.compile(r'\\(["\\]|\r?\n)')  # an escape of MySQL: a quote, a backslash or a line end after a backslash
Record = tuple[int, list[str]]  # the line in which it ends, its fields


def encoding_for(shard: Shard, options: ReadOptions) -> str:
    """Return the encoding that the options name, or the one found. A byte order mark of UTF-8 is never part of the text."""
    if options.encoding != AUTO:
        return "utf-8-sig" if codecs.lookup(options.encoding).name == "utf-8" else options.encoding
    with opened(shard) as stream:
        return encoding_of(shard.file, stream)


@contextmanager
def lines_of(shard: Shard, encoding: str, observer: ReadObserver | None = None) -> Iterator[Iterator[str]]:
    """Yield an iterator of the lines of a file, with their ends.

    It raises FileUnreadable for a line that is too long, holds a NUL byte or does not decode.
    """
    with opened(shard, observer) as stream:
        yield _lines(shard, io.TextIOWrapper(io.BufferedReader(stream, 2**18), encoding=encoding, newline=""))


def _lines(shard: Shard, reader: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    try:
        while line := reader.readline(MAX_CHARACTERS):
            number += 1
            if len(line) == MAX_CHARACTERS:
                raise FileUnreadable(
                    shard.file,
                    f"has over {MAX_CHARACTERS:,} characters in line {number:,}",
                    "check that the file is a table of texts and not damaged",
                )
            if "\0" in line:
                raise FileUnreadable(
                    shard.file, f"has a NUL byte in line {number:,}", "export it again as text, for it is damaged or not a text file"
                )
            yield line
    except UnicodeError as error:
        raise not_decoded(shard, error, f"line {number:,}") from None


def not_decoded(shard: Shard, error: UnicodeError, place: str) -> FileUnreadable:
    """Return the error for bytes that are not of the encoding. place: the line or record before them."""
    problem = f"cannot be decoded ({error})"
    if isinstance(error, UnicodeDecodeError):
        problem = f"is not {error.encoding} throughout (byte 0x{error.object[error.start]:02x} after {place})"
    return FileUnreadable(shard.file, problem, "repair it, or name its encoding in {encoding}")


def records_of(shard: Shard, lines: Iterator[str], separator: str, quoting: str) -> Iterator[Record]:
    """Yield the records that are not blank, each with the line in which it ends; raise FileUnreadable for broken quotes."""
    size = 0

    def counted() -> Iterator[str]:
        nonlocal size
        for line in lines:
            size += len(line)
            if size > MAX_CHARACTERS:
                raise FileUnreadable(
                    shard.file, f"has a row of over {MAX_CHARACTERS:,} characters, up to line {reader.line_num:,}", "close its quotes"
                )
            yield BACKSLASH.sub(_doubled, line) if quoting == "backslash" else line

    csv.field_size_limit(MAX_CHARACTERS)  # of the process: other code may set it to another value
    reader = csv.reader(counted(), delimiter=separator, quoting=QUOTINGS[quoting], strict=True)
    try:
        for fields in reader:
            size = 0
            if reader.line_num == 1 and fields[:1] == ["sep="]:  # a line for Excel, which is not part of the table
                continue
            if len(fields) > 1 or any(field.strip() for field in fields):
                yield reader.line_num, [unquoted(field) for field in fields] if quoting == "twice" else fields
    except csv.Error as error:
        raise FileUnreadable(
            shard.file,
            f"has broken quotes (line {reader.line_num:,}: {error})",
            "close every quote, and double the quotes inside a quoted text; or set {quoting} to none",
        ) from None


def _doubled(escape: re.Match[str]) -> str:
    """Return an escaped quote as CSV writes it, twice, and another character without its backslash."""
    return '""' if escape[1] == '"' else escape[1]


def unquoted(field: str) -> str:
    """Return a field without its second layer of quotes."""
    return field[1:-1].replace('""', '"') if len(field) > 1 and field[0] == field[-1] == '"' else field
