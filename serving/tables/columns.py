"""The columns of text and label in a table: found by name, or by their values where no name tells.

In: the first rows of a table. Out: `Columns`, or an error that says which param to set.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from serving.tables.errors import ColumnNotFound, FileUnreadable, HeaderNotFound
from serving.tables.labelled import AUTO, Columns, ReadOptions
from serving.tables.names import LABEL, TEXT, Kind, has_known_name, named

SHOWN = 120  # characters of a header in a message
MOSTLY = 0.5  # share of a column's values that must be classes, for it to be the label column
NEARLY_ALL = 0.9  # share of a column's values that decide what it holds
LONGEST_LABEL = 40  # characters, on average
MOST_TITLES = 10  # rows above a header
FEW = 10  # rows in which a repeated value says nothing

NUMBERS, DATES, LINKS, IDS = "numbers", "dates", "links", "ids"
NO_TEXTS = {  # what a column holds that holds no texts, and how to recognize such a value
    NUMBERS: re.compile(r"[+-]?[$€£₩]?\s*\d[\d.,]*\s*[%원]?"),
    DATES: re.compile(r"(?s)(?=.*?\d[./:-]\d)[\s\d.,:/TZ+-]+"),
    LINKS: re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE),
    IDS: re.compile(r"(?=\S*\d)(?:[0-9a-fA-F-]{16,}|[A-Za-z0-9_-]{20,})"),
}  # each takes linear time
LOOKED_AT = 500  # characters of a value, without blanks around it
NOTHING = "nothing"
NO_LABELS = (DATES, LINKS, IDS)
LABELS_ELSEWHERE = (
    "name it in {label_column}; set that to file or folder if those names are the labels, "
    "or name the file in {labels_source} that has a label for each text"
)


def columns_of(file: Path, first: Sequence[list[str]], options: ReadOptions) -> Columns:
    """Find the columns in the first rows of a table; raise ColumnNotFound or FileUnreadable.

    first: the first rows, including titles and the header.
    """
    titles = _titles(first, options)
    header, rows = [name.strip() for name in first[titles]], first[titles + 1 :]
    if rows and not options.allow_extra_fields and all(len(row) > len(header) for row in rows):
        raise FileUnreadable(
            file, f"has {len(header)} fields in its first row and {len(rows[0])} in the next", "name all columns in the first row"
        )
    rows = [row[: len(header)] for row in rows]
    is_free = options.has_labels and options.text_column == options.label_column == AUTO
    if options.known_table and is_free and set(options.known_table) <= set(header):
        text, *labels = map(header.index, options.known_table)
        return Columns(text, tuple(labels), len(header), first[titles], is_known=True, titles=titles)
    if options.header == "no" or (options.header == AUTO and not _is_header(header, rows, options)):
        return _without_names(file, first, options)
    columns = named_columns(file, header, rows, options)
    if options.header == AUTO and options.is_label is not None and len(columns.guessed) == 2:
        raise FileUnreadable(
            file,
            f"has a first row that may be a header or data: {', '.join(header)[:SHOWN]}",
            "set {header} to yes or no, or name the columns in {text_column} and {label_column}",
        )
    return dataclasses.replace(columns, names=first[titles], titles=titles)


def _titles(first: Sequence[list[str]], options: ReadOptions) -> int:
    """Return the number of title rows: rows of at most one value, or of another width than the table, above a header."""
    width = Counter(map(len, first)).most_common(1)[0][0]
    if options.header == "no" or width == 1:
        return 0

    def is_title(row: Sequence[str]) -> bool:
        return len(row) != width or sum(bool(cell.strip()) for cell in row) <= 1

    count = next((place for place, row in enumerate(first[: MOST_TITLES + 1]) if not is_title(row)), 0)
    rows = first[count + 1 :]
    if not count or not rows:
        return 0
    header = [name.strip() for name in first[count]]
    names_given = any(name in header for name in (options.text_column, options.label_column))
    return count if options.header == "yes" or names_given or _is_header(header, rows, options) else 0


def named_columns(file: Path, header: Sequence[str], rows: Sequence[list[str]], options: ReadOptions) -> Columns:
    """Find the columns under a header, in a table or in records; raise ColumnNotFound or FileUnreadable.

    rows: the first rows after the header.
    """
    guessed = []
    label = _by_name(file, header, rows, options.label_column, LABEL, options) if options.has_labels else None
    if label is None and options.has_labels:
        label = _label_column(file, header, rows, options)
        guessed.append("label")
        if label is None:
            raise ColumnNotFound(file, "of labels", header, LABELS_ELSEWHERE)
    text = _by_name(file, header, rows, options.text_column, TEXT, options, taken=label)
    if text is None:
        text = _text_column(file, header, rows, label)
        guessed.insert(0, "text")
    if text is None:
        raise ColumnNotFound(file, "of texts", header, "name it in {text_column}")
    labels = () if label is None else (label,)
    names = [name.casefold() for name in header]
    for position in (text, *labels):
        if not names[position].strip():
            raise FileUnreadable(
                file, f"has no name for column {position} in its first row", "name all columns there, and remove rows above"
            )
        if names.count(names[position]) > 1:
            raise FileUnreadable(file, f"has the column '{header[position]}' more than once", "rename or remove one of them")
    return Columns(text, labels, len(header), list(header), guessed=tuple(guessed))


def _by_name(
    file: Path,
    header: Sequence[str],
    rows: Sequence[list[str]],
    wanted: str,
    kind: Kind,
    options: ReadOptions,
    taken: int | None = None,
) -> int | None:
    """Return the column that its name decides, or None; raise FileUnreadable if several have equal claims."""
    found = [place for place in named(header, wanted, kind) if place != taken]
    if wanted != AUTO:
        if not found:
            raise ColumnNotFound(file, f"'{wanted}'", header, f"name the right one in {{{kind.param}}}")
        return found[0]
    if kind is TEXT:
        return _named_text(header, rows, found, taken)
    if len(found) > 1:
        fitting = [place for place in found if _share(rows, place, options) > MOSTLY]
        found = fitting or found
    if len(found) > 1:
        _ask(file, header, found, "may be the label")
    return found[0] if found else None


def _is_header(header: Sequence[str], rows: Sequence[list[str]], options: ReadOptions) -> bool:
    """Tell a header from a row.

    A header has a name that the user gave, or known names of a text and a label column. Two column numbers say that there is none.
    A row has a label, as the rows below it. A known name of a text column outweighs a word that is a label, but no number.
    Where no column holds labels, a first row with a number is none, nor is a single value without a known name.
    """
    given = {options.text_column, *([options.label_column] if options.has_labels else [])} - {AUTO}
    if len(given) == 2 and all(name.isdecimal() for name in given):
        return given <= set(header)
    if any(name in header and not name.isdecimal() for name in given):
        return True
    names_a_text = has_known_name(header, TEXT)
    if not options.has_labels and (len(header) == 1 or any(map(NO_TEXTS[NUMBERS].fullmatch, header))):
        return names_a_text
    if len(header) == 1 or (names_a_text and has_known_name(header, LABEL)):
        return True
    labels = [name for place, name in enumerate(header) if _continues(name, [row[place] for row in rows if place < len(row)], options)]
    return not any(map(_is_number, labels)) if names_a_text else not labels


def _continues(name: str, values: Sequence[str], options: ReadOptions) -> bool:
    """Tell whether a value of the first row is a label, as those below it; where labels are not known, whether they repeat it."""
    if options.is_label is None:
        return name in {value.strip() for value in values} and len(set(values)) <= MOSTLY * len(values)
    is_label = options.is_label
    return is_label(name) and (not values or any(is_label(value) and _is_number(value) == _is_number(name) for value in values))


def _is_number(label: str) -> bool:
    return label.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _without_names(file: Path, first: Sequence[list[str]], options: ReadOptions) -> Columns:
    """Return the columns of a table without a header."""
    width = len(first[0])
    numbers = list(map(str, range(width)))
    is_auto = options.label_column == AUTO
    label = None
    if options.has_labels:
        label = _label_column(file, numbers, first, options) if is_auto else options.number(options.label_column, width)
    if options.text_column == AUTO:
        text = None if label is None and options.has_labels else _text_column(file, numbers, first, label)
    else:
        text = options.number(options.text_column, width)
    if text is None or (label is None and options.has_labels):
        params = "{text_column} and {label_column}" if options.has_labels else "{text_column}"
        raise HeaderNotFound(file, "has no header", f"give the numbers of its columns, from 0, in {params}")
    return Columns(text, () if label is None else (label,), width, None)


def _label_column(file: Path, names: Sequence[str], rows: Sequence[list[str]], options: ReadOptions) -> int | None:
    """Return the column with the most labels; raise FileUnreadable if several columns have as many."""
    shares = [_share(rows, column, options) for column in range(_width(rows))]
    if options.is_label is None:
        shares = [0.0 if _no_texts(rows, column) in NO_LABELS else share for column, share in enumerate(shares)]
    best = max(shares, default=0)
    if best <= MOSTLY:
        return None
    enough = MOSTLY if options.is_label is None else best
    found = [column for column, share in enumerate(shares) if share >= enough]
    if len(found) > 1:
        _ask(file, names, found, "hold classes")
    return found[0]


def _text_column(file: Path, names: Sequence[str], rows: Sequence[list[str]], label: int | None) -> int | None:
    """Return the column with the longest values that are texts; raise FileUnreadable if the values of all others are none."""
    others = [column for column in range(_width(rows)) if column != label]
    problems = {column: _no_texts(rows, column) for column in others}
    sizes = {column: sum(len(row[column]) for row in rows) for column in others if not problems[column]}
    if others and not sizes:
        held = ", ".join(f"'{names[column]}' holds {problem}" for column, problem in list(problems.items())[:5])
        raise FileUnreadable(file, f"has no column of texts ({held})", "give a file with texts, or name the column in {text_column}")
    return max(sizes, key=lambda column: sizes[column], default=None)


def _no_texts(rows: Sequence[list[str]], column: int) -> str | None:
    """Return what a column holds if it holds no texts, or None."""
    values = [row[column] for row in rows if column < len(row) and row[column].strip()]
    if not values:
        return NOTHING
    for held, pattern in NO_TEXTS.items():
        if sum(bool(pattern.fullmatch(value.strip()[:LOOKED_AT])) for value in values) > NEARLY_ALL * len(values):
            return held
    if len(values) > FEW and max(map(values.count, set(values[:FEW]))) > NEARLY_ALL * len(values):
        return "one repeated value"
    return None


def _named_text(header: Sequence[str], rows: Sequence[list[str]], found: Sequence[int], label: int | None) -> int | None:
    """Return the first column named like one of texts that holds texts; a sure name outweighs its values, unless there are none."""
    held = {place: _no_texts(rows, place) if rows else None for place in found}
    sure = [place for place in found if header[place].casefold() in TEXT.sure]
    fitting = [place for place in found if held[place] is None or (place in sure and held[place] != NOTHING)]
    if fitting:
        return fitting[0]
    others = set(range(_width(rows))) - {*found, label}
    return sure[0] if sure and all(_no_texts(rows, place) for place in others) else None


def _share(rows: Sequence[list[str]], column: int, options: ReadOptions) -> float:
    """Return the share of a column's values that are labels of the task, or that repeat others where the labels are not known."""
    values = [row[column] for row in rows if column < len(row)]
    if options.is_label is not None:
        return sum(map(options.is_label, values)) / max(1, len(rows))
    is_short = sum(map(len, values)) <= LONGEST_LABEL * len(values)
    return 1 - len(set(values)) / len(values) if is_short and len(set(values)) > 1 else 0.0


def _width(rows: Sequence[list[str]]) -> int:
    return min(map(len, rows), default=0)


def _ask(file: Path, names: Sequence[str], found: Sequence[int], claim: str) -> NoReturn:
    likely = " and ".join(f"'{names[column]}'" for column in found[:5])
    raise FileUnreadable(file, f"has several columns that {claim}: {likely}", "name the right one in {label_column}")
