"""Delimited text (CSV, TSV) of any size.

In: a file and the options of the user. Out: its dialect (encoding, separator, quoting, columns) and its rows, none lost.

Real files differ in each of these. In one published file quotes are plain characters: CSV rules swallow 252 of its 1,000 rows.
A file that was quoted twice keeps a layer of quotes. So the reader tries both rules on the complete file before it chooses one.
"""

import csv
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import NamedTuple

from serving.tables.columns import MOST_TITLES, columns_of
from serving.tables.csv_records import encoding_for, lines_of, records_of
from serving.tables.errors import FileUnreadable
from serving.tables.facts import SourceFacts
from serving.tables.files import ReadObserver, Shard
from serving.tables.labelled import AUTO, MAX_CHARACTERS, Columns, LabelledRow, ReadOptions
from serving.tables.names import TEXT, has_known_name, named, names_both

log = logging.getLogger("delimited")

SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
SAMPLE_ROWS = 1000
SHOWN_LINES = 10
SWALLOWED = ("complete rows inside a quoted text", "double the quotes that are part of a text")  # a problem and its remedy
LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Dialect:
    """How a file is written. quoting: csv, backslash (before a quote in a text), none (quotes are plain characters) or twice."""

    encoding: str
    separator: str
    quoting: str
    columns: Columns

    @property
    def facts(self) -> SourceFacts:
        found = SourceFacts.of_file(
            format="delimited",
            encoding=self.encoding,
            separator=SEPARATORS.get(self.separator, self.separator),
            quoting=self.quoting,
        )
        return found | self.columns.facts


def dialect_of(shard: Shard, options: ReadOptions) -> Dialect:
    """Return the dialect of a file: what `options` say, and the rest as found; raise FileUnreadable or ColumnNotFound."""
    encoding = encoding_for(shard, options)
    with lines_of(shard, encoding) as lines:
        sample = [line for line in islice(lines, SAMPLE_ROWS) if line.strip()]
    separator = options.separator if options.separator != AUTO else separator_of(sample, options)
    quoting = options.quoting if options.quoting != AUTO else _quoting(shard, encoding, separator)
    with lines_of(shard, encoding) as lines:
        first = [fields for _, fields in islice(records_of(shard, lines, separator, quoting), SAMPLE_ROWS)]
    if not first:
        raise FileUnreadable(shard.file, "is empty", "give a file with labelled texts")
    try:
        columns = columns_of(shard.file, first, options)
    except FileUnreadable:
        if options.is_label is not None or len(first) < SAMPLE_ROWS:
            raise
        columns = columns_of(shard.file, first + _spread(shard, encoding, separator, quoting), options)
    return Dialect(encoding, separator, quoting, columns)


def _spread(shard: Shard, encoding: str, separator: str, quoting: str) -> list[list[str]]:
    """Return rows from all over a file, at equal distances: a file that is sorted by label has one label in its first rows."""
    found: list[list[str]] = []
    step = 1
    with lines_of(shard, encoding) as lines:
        for number, (_, fields) in enumerate(records_of(shard, lines, separator, quoting)):
            if number % step == 0:
                found.append(fields)
            if len(found) == 2 * SAMPLE_ROWS:
                found, step = found[::2], 2 * step
    return found[1:]


def read_delimited(shard: Shard, dialect: Dialect, options: ReadOptions, observer: ReadObserver) -> Iterator[LabelledRow]:
    """Yield the rows of a file; raise FileUnreadable for ragged rows, and for rows inside a quoted text."""
    columns, width = dialect.columns, dialect.columns.width
    ragged: list[int] = []
    repeated = 0
    with lines_of(shard, dialect.encoding, observer) as lines:
        records = records_of(shard, lines, dialect.separator, dialect.quoting)
        for line, fields in islice(records, columns.titles, None):
            if len(fields) < width or (any(fields[width:]) and not options.allow_extra_fields):
                ragged.append(line)
                continue
            if columns.names and fields[:width] == columns.names:
                repeated += 1
                continue
            is_wrapped = dialect.quoting != "none" and any(map(LINE_END.search, fields))
            if is_wrapped and any(swallowed_rows(fields, columns, dialect.separator, options.is_label or (lambda _: False))):
                raise FileUnreadable(shard.file, f"has {SWALLOWED[0]} that ends in line {line:,}", SWALLOWED[1])
            yield LabelledRow(fields[columns.text], columns.label_of(fields), line)
    if ragged:
        shown = ", ".join(f"{line:,}" for line in ragged[:SHOWN_LINES]) + (", ..." if len(ragged) > SHOWN_LINES else "")
        raise FileUnreadable(
            shard.file,
            f"has {len(ragged):,} rows whose number of fields is not {width}; they end in line {shown}",
            f"put each text with a {SEPARATORS.get(dialect.separator, 'separator')} into double quotes, or remove the extra fields",
        )
    if repeated > 1:
        log.info("%s repeats its header %d times", shard.file, repeated - 1)


def separator_of(sample: Sequence[str], options: ReadOptions, candidates: Iterable[str] = SEPARATORS) -> str:
    """Return the separator whose header names the columns, else the one that gives most lines the same number of fields.

    Where no column holds labels, texts may fill the lines: only a separator in the first line counts, if one stands there.
    """
    for header, separator in product(sample[: MOST_TITLES + 1], candidates):
        if separator in header and _names_columns([name.strip().strip('"') for name in header.split(separator)], options):
            return separator

    def evenness(separator: str) -> float:
        widths = Counter(len(fields) for line in sample for fields in csv.reader([line], delimiter=separator))
        width, lines = next(iter(widths.most_common(1)), (0, 0))
        return lines / widths.total() if width > 1 else 0.0

    csv.field_size_limit(MAX_CHARACTERS)  # of the process: other code may set it to another value
    if not options.has_labels:
        candidates = [separator for separator in candidates if separator in sample[0]] or [*candidates][:1]
    return max(candidates, key=evenness)


def _names_columns(header: Sequence[str], options: ReadOptions) -> bool:
    """Tell whether a header names the columns that the options want."""
    if options.has_labels:
        return names_both(header, options.text_column, options.label_column)
    return has_known_name(header, TEXT) if options.text_column == AUTO else bool(named(header, options.text_column, TEXT))


class Profile(NamedTuple):
    """The result of reading a file by one rule of quoting. problem: the error that ended it.

    even: whether all rows have the same number of fields, at least two. wrapped: whether most fields with quotes begin and end with one.
    twice: whether all fields with quotes do, and some hold doubled quotes.
    """

    rows: int
    even: bool
    problem: FileUnreadable | None
    wrapped: bool = False
    twice: bool = False


def _quoting(shard: Shard, encoding: str, separator: str) -> str:
    """Return the quoting that fits the complete file.

    "none" is right if plain quotes give an even table, and the rules of CSV give fewer rows, uneven rows or an error.
    If most quotes wrap a field, the file means the rules of CSV, even where it breaks them.
    "backslash" is right if it gives an even table where the rules of CSV give an error or uneven rows.
    """
    if not _has(shard, encoding, '"'):
        return "csv"
    quoted = _profile(shard, encoding, separator, "csv")
    is_broken = quoted.problem is not None or not quoted.even
    if is_broken and _has(shard, encoding, '\\"') and _profile(shard, encoding, separator, "backslash").even:
        return "backslash"
    plain = _profile(shard, encoding, separator, "none")
    if plain.even and not plain.wrapped and (quoted.problem is not None or not quoted.even or quoted.rows < plain.rows):
        return "none"
    if quoted.problem is not None:
        raise quoted.problem
    return "twice" if quoted.twice else "csv"


def _has(shard: Shard, encoding: str, characters: str) -> bool:
    with lines_of(shard, encoding) as lines:
        return any(characters in line for line in lines)


def _profile(shard: Shard, encoding: str, separator: str, quoting: str) -> Profile:
    rows = 0
    widths: set[int] = set()
    wrapped = doubled = bare = 0  # fields with quotes: in a layer of quotes, with doubled quotes inside, without a layer
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


def swallowed_rows(fields: Sequence[str], columns: Columns, separator: str, is_label: Callable[[str], bool]) -> list[bool]:
    """Tell for each line of a quoted text whether it is a complete row: then the opening quote of the text was meant as a character.

    The first and last line of the text are parts of rows; the other fields of these rows stand next to the text.
    Such a part counts as a row only if the label stands within it.
    """
    place = next(place for place, field in enumerate(fields) if LINE_END.search(field))
    lines = list(csv.reader(LINE_END.split(fields[place]), delimiter=separator))
    rows = [([*fields[:place], *lines[0]], place, columns.width)]
    rows += [(line_fields, 0, columns.width) for line_fields in lines[1:-1]]
    rows.append(([*lines[-1], *fields[place + 1 :]], 0, len(lines[-1])))
    return [
        len(row) == columns.width
        and all(begin <= position < end for position in columns.labels)
        and (columns.is_known or is_label(columns.label_of(row)))
        for row, begin, end in rows
    ]
