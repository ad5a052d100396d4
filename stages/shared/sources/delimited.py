"""Delimited text of any size: separator, quoting, header and columns are found out and told, and no row is lost.

Real files disagree on each of them: CSV rules swallow 252 of the 1,000 rows of a file whose quotes are just characters, and a file
that was quoted twice keeps a layer of quotes. So the whole file is read by both rules before one is chosen.
"""

import codecs
import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from stages.shared.errors import FileUnreadable
from stages.shared.sources.columns import columns_of
from stages.shared.sources.encoding import encoding_of
from stages.shared.sources.files import ReadObserver, Shard, opened
from stages.shared.sources.rows import AUTO, Columns, ReadOptions, Row

log = logging.getLogger("preprocess")

SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
QUOTINGS: dict[str, Literal[0, 3]] = {"csv": csv.QUOTE_MINIMAL, "twice": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}
MAX_HEADER = 4096  # bytes of a file that is nothing but a header
MAX_LINE = 2**20  # characters of a line and of a record: no text is as long, and a longer one would take the memory
SAMPLE_ROWS = 1000
SHOWN_LINES = 10
LINE_END = re.compile(r"\r\n|\r|\n")
csv.field_size_limit(MAX_LINE)
Record = tuple[int, list[str]]  # line of its end, fields


@dataclass(frozen=True)
class Dialect:
    """How a file is written. quoting: csv, none (quotes are characters) or twice. columns: where text and label stand."""

    encoding: str
    separator: str
    quoting: str
    columns: Columns

    @property
    def facts(self) -> dict[str, str]:
        return {
            "format": "aihub table" if self.columns.corpus else "delimited",
            "encoding": self.encoding,
            "separator": SEPARATORS.get(self.separator, self.separator),
            "quoting": self.quoting,
            **self.columns.facts,
        }


def dialect_of(shard: Shard, how: ReadOptions) -> Dialect:
    """Find out how a file is written, but for what `how` says; raise FileUnreadable or ColumnMissing."""
    encoding = encoding_for(shard, how)
    with lines_of(shard, encoding) as lines:
        sample = [line for line in islice(lines, SAMPLE_ROWS) if line.strip()]
    separator = how.separator if how.separator != AUTO else _separator(sample, how)
    quoting = how.quoting if how.quoting != AUTO else _quoting(shard, encoding, separator)
    with lines_of(shard, encoding) as lines:
        first = [fields for _, fields in islice(records_of(shard, lines, separator, quoting), SAMPLE_ROWS)]
    if not first:
        raise FileUnreadable(shard.file, "is empty", "give a file with labelled texts")
    return Dialect(encoding, separator, quoting, columns_of(shard, first, how))


def encoding_for(shard: Shard, how: ReadOptions) -> str:
    """Return the encoding that is wanted, or found; a mark at the start of UTF-8 is never part of the text."""
    if how.encoding != AUTO:
        return "utf-8-sig" if codecs.lookup(how.encoding).name == "utf-8" else how.encoding
    with opened(shard) as stream:
        return encoding_of(shard.file, stream)


def has_only_header(shard: Shard) -> bool:
    """Tell whether a file is a header that names text and label, and nothing else."""
    with opened(shard) as stream:
        start = stream.read(MAX_HEADER)
    lines = [line for line in start.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    return len(start) < MAX_HEADER and len(lines) == 1 and ReadOptions(lambda _: False).named_in(next(csv.reader(lines)))


def read_delimited(shard: Shard, dialect: Dialect, how: ReadOptions, watch: ReadObserver) -> Iterator[Row]:
    """Yield the rows of a file; raise FileUnreadable for ragged rows and for rows inside a quoted text."""
    columns, width = dialect.columns, dialect.columns.width
    ragged: list[int] = []
    repeated = 0
    with lines_of(shard, dialect.encoding, watch) as lines:
        for line, fields in records_of(shard, lines, dialect.separator, dialect.quoting):
            if len(fields) < width or (any(fields[width:]) and not how.loose):
                ragged.append(line)
                continue
            if columns.names and fields[:width] == columns.names:
                repeated += 1
                continue
            if dialect.quoting != "none" and any(map(LINE_END.search, fields)):
                _refuse_swallowed_rows(shard, line, fields, dialect, how)
            yield Row(fields[columns.text], columns.label_of(fields), line)
    if ragged:
        shown = ", ".join(f"{line:,}" for line in ragged[:SHOWN_LINES]) + (", ..." if len(ragged) > SHOWN_LINES else "")
        raise FileUnreadable(
            shard.file,
            f"has {len(ragged):,} rows with another number of fields than {width}, which end in line {shown}",
            f"put a text that holds a {SEPARATORS.get(dialect.separator, 'separator')} in double quotes, or remove what is too much",
        )
    if repeated > 1:
        log.info("%s: its header stands there %d times more", shard.file, repeated - 1)


@contextmanager
def lines_of(shard: Shard, encoding: str, watch: ReadObserver | None = None) -> Iterator[Iterator[str]]:
    """Give the lines of a file with their ends; they raise FileUnreadable where one is too long, holds a NUL or does not decode."""
    with opened(shard, watch) as stream:
        yield _lines(shard, io.TextIOWrapper(io.BufferedReader(stream, 2**18), encoding=encoding, newline=""))


def _lines(shard: Shard, reader: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    try:
        while line := reader.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE:
                raise FileUnreadable(
                    shard.file, f"has over {MAX_LINE:,} characters in line {number:,}", "it is no table of texts, or damaged"
                )
            if "\0" in line:
                raise FileUnreadable(shard.file, f"has a NUL byte in line {number:,}", "it is damaged or not a text file, export it again")
            yield line
    except UnicodeError as error:
        raise not_decoded(shard, error, f"line {number:,}") from None


def not_decoded(shard: Shard, error: UnicodeError, place: str) -> FileUnreadable:
    """Return the sentence on bytes that are not of the encoding. place: what was read before them."""
    problem = f"cannot be decoded ({error})"
    if isinstance(error, UnicodeDecodeError):
        problem = f"is not {error.encoding} throughout (byte 0x{error.object[error.start]:02x} behind {place})"
    return FileUnreadable(shard.file, problem, "repair it, or name its encoding in preprocess.encoding")


def records_of(shard: Shard, lines: Iterator[str], separator: str, quoting: str) -> Iterator[Record]:
    """Yield the records that are not blank, with the line each ends in; raise FileUnreadable for broken quotes."""
    size = 0

    def counted() -> Iterator[str]:
        nonlocal size
        for line in lines:
            size += len(line)
            if size > MAX_LINE:
                raise FileUnreadable(
                    shard.file, f"has a row of over {MAX_LINE:,} characters, up to line {reader.line_num:,}", "close its quotes"
                )
            yield line

    reader = csv.reader(counted(), delimiter=separator, quoting=QUOTINGS[quoting], strict=True)
    try:
        for fields in reader:
            size = 0
            if reader.line_num == 1 and fields[:1] == ["sep="]:  # which Excel reads, and writes nowhere
                continue
            if len(fields) > 1 or any(field.strip() for field in fields):
                yield reader.line_num, [unquoted(field) for field in fields] if quoting == "twice" else fields
    except csv.Error as error:
        raise FileUnreadable(
            shard.file,
            f"has broken quotes (line {reader.line_num:,}: {error})",
            "close every quote, and double the quotes inside a quoted text; or set preprocess.quoting to none",
        ) from None


def unquoted(field: str) -> str:
    """Take off a second layer of quotes."""
    return field[1:-1].replace('""', '"') if len(field) > 1 and field[0] == field[-1] == '"' else field


def _separator(sample: Sequence[str], how: ReadOptions) -> str:
    """Choose the separator whose header names the columns, else the one that cuts most lines into the same number of fields."""
    header = next(iter(sample), "")
    for separator in SEPARATORS:
        if how.named_in([name.strip().strip('"') for name in header.split(separator)]):
            return separator

    def evenness(separator: str) -> float:
        widths = Counter(line.count(separator) for line in sample)
        width, lines = next(iter(widths.most_common(1)), (0, 0))
        return lines / widths.total() if width else 0.0

    return max(SEPARATORS, key=evenness)


class Profile(NamedTuple):
    """What reading by one rule gives. problem: the sentence it ended with.

    wrapped: whether most fields with quotes begin and end with one. twice: whether all do, and hold doubled ones.
    """

    rows: int
    even: bool
    problem: FileUnreadable | None
    wrapped: bool = False
    twice: bool = False


def _quoting(shard: Shard, encoding: str, separator: str) -> str:
    """Read the whole file by the rules of CSV, and with quotes as characters; where that gives an even table of more rows, it is right.

    Not where most quotes wrap a field: then the rules of CSV are meant, and broken.
    """
    with lines_of(shard, encoding) as lines:
        if not any('"' in line for line in lines):
            return "csv"
    quoted = _profile(shard, encoding, separator, "csv")
    plain = _profile(shard, encoding, separator, "none")
    if plain.even and not plain.wrapped and (quoted.problem is not None or not quoted.even or quoted.rows < plain.rows):
        return "none"
    if quoted.problem is not None:
        raise quoted.problem
    return "twice" if quoted.twice else "csv"


def _profile(shard: Shard, encoding: str, separator: str, quoting: Literal["csv", "none"]) -> Profile:
    rows = 0
    widths: set[int] = set()
    wrapped = doubled = bare = 0  # fields with quotes: in a whole layer of quotes, in one with doubled quotes within, in none
    try:
        with lines_of(shard, encoding) as lines:
            for _, fields in records_of(shard, lines, separator, quoting):
                rows += 1
                if len(widths) < 3:
                    widths.add(len(fields))
                for field in fields:
                    if '"' not in field:
                        continue
                    inner = field[1:-1]
                    layer = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner.replace('""', "")
                    wrapped += layer
                    bare += not layer
                    doubled += '""' in inner
    except FileUnreadable as problem:
        return Profile(rows, even=False, problem=problem)
    return Profile(rows, len(widths) == 1 and widths != {1}, None, wrapped > bare, bool(wrapped and doubled and not bare))


def _refuse_swallowed_rows(shard: Shard, line: int, fields: Sequence[str], dialect: Dialect, how: ReadOptions) -> None:
    """Raise FileUnreadable where a quoted text of several lines holds whole rows: its opening quote was never meant to quote.

    Its first and last piece are parts of rows, whose other fields stand beside it; their label must be within the piece.
    """
    columns = dialect.columns
    place = next(place for place, field in enumerate(fields) if LINE_END.search(field))
    pieces = list(csv.reader(LINE_END.split(fields[place]), delimiter=dialect.separator))
    rows = [([*fields[:place], *pieces[0]], place, columns.width)]
    rows += [(piece, 0, columns.width) for piece in pieces[1:-1]]
    rows.append(([*pieces[-1], *fields[place + 1 :]], 0, len(pieces[-1])))
    for row, begin, end in rows:
        within = all(begin <= position < end for position in columns.labels)
        if within and len(row) == columns.width and (columns.corpus or how.knows(columns.label_of(row))):
            raise FileUnreadable(
                shard.file, f"has whole rows inside a quoted text that ends in line {line:,}", "double the quotes that are part of a text"
            )
