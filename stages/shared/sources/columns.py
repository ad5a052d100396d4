"""The columns of text and label in a table: found by name, or by their values if the table has no header.

In: the first rows of a table. Out: `Columns`, or an error that says which param to set.
"""

from collections.abc import Sequence

from stages.shared import aihub
from stages.shared.errors import FileUnreadable
from stages.shared.sources.errors import ColumnMissing
from stages.shared.sources.files import Shard
from stages.shared.sources.rows import AUTO, LABEL_NAMES, TEXT_NAMES, Columns, ReadOptions

SHOWN = 120  # characters of a header in a message
MOSTLY = 0.5  # share of a column's values that must be classes, for it to be the label column


def columns_of(shard: Shard, first: Sequence[list[str]], options: ReadOptions) -> Columns:
    """Find the columns in the first rows of a table; raise ColumnMissing or FileUnreadable.

    first: the first rows, including the header.
    """
    header, rows = [name.strip() for name in first[0]], first[1:]
    if rows and not options.allow_extra_fields and all(len(row) > len(header) for row in rows):
        raise FileUnreadable(
            shard.file, f"has {len(header)} fields in its first row and {len(rows[0])} in the next", "name all columns in the first row"
        )
    if options.text_column == options.label_column == AUTO and set(aihub.TABLE_COLUMNS) <= set(header):
        sentence, *emotion = map(header.index, aihub.TABLE_COLUMNS)
        return Columns(sentence, tuple(emotion), len(header), first[0], is_aihub=True)
    if options.header == "no" or (options.header == AUTO and not options.named_in(header) and _is_row(header, rows, options)):
        return _without_names(shard, first, options)
    text = options.position(header, options.text_column, TEXT_NAMES)
    label = options.position(header, options.label_column, LABEL_NAMES)
    guessed = [name for name, position in (("text", text), ("label", label)) if position is None]
    if label is None and options.label_column == AUTO:
        label = _label_column(shard, header, rows, options)
    if text is None and options.text_column == AUTO and label is not None:
        text = _text_column(rows, label)
    if text is None:
        raise ColumnMissing(shard.file, _wanted(options.text_column, TEXT_NAMES), "preprocess.text_column", header)
    if label is None:
        raise ColumnMissing(shard.file, _wanted(options.label_column, LABEL_NAMES), "preprocess.label_column", header)
    if options.header == AUTO and len(guessed) == 2:
        raise FileUnreadable(
            shard.file,
            f"has a first row that may be a header or data: {', '.join(header)[:SHOWN]}",
            "set preprocess.header to yes or no, or name the columns in preprocess.text_column and preprocess.label_column",
        )
    names = [name.casefold() for name in header]
    for position in (text, label):
        if names.count(names[position]) > 1:
            raise FileUnreadable(shard.file, f"has the column '{header[position]}' more than once", "rename or remove one of them")
    return Columns(text, (label,), len(header), first[0], guessed=tuple(guessed))


def _wanted(column: str, likely: Sequence[str]) -> str:
    return likely[0] if column == AUTO else column


def _is_row(header: Sequence[str], rows: Sequence[list[str]], options: ReadOptions) -> bool:
    """Tell a first row from a header: it has a label of the same kind as the rows below it.

    The kind is number or word. It matters because a header may use the name of a class as the name of a column.
    """
    return len(header) > 1 and any(
        options.is_label(name)
        and (not rows or any(options.is_label(row[place]) and _is_number(row[place]) == _is_number(name) for row in rows))
        for place, name in enumerate(header)
        if all(place < len(row) for row in rows)
    )


def _is_number(label: str) -> bool:
    return label.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _without_names(shard: Shard, first: Sequence[list[str]], options: ReadOptions) -> Columns:
    """Return the columns of a table without a header."""
    width = len(first[0])
    numbers = list(map(str, range(width)))
    is_auto = options.label_column == AUTO
    label = _label_column(shard, numbers, first, options) if is_auto else options.number(options.label_column, width)
    text = _text_column(first, label) if options.text_column == AUTO else options.number(options.text_column, width)
    if text is None or label is None:
        raise FileUnreadable(
            shard.file, "has no header", "give the numbers of its columns, from 0, in preprocess.text_column and preprocess.label_column"
        )
    return Columns(text, (label,), width, None)


def _label_column(shard: Shard, names: Sequence[str], rows: Sequence[list[str]], options: ReadOptions) -> int | None:
    """Return the column with the most labels; raise FileUnreadable if several columns have as many."""
    width = min(map(len, rows), default=0)
    shares = [sum(options.is_label(row[column]) for row in rows) / len(rows) for column in range(width)]
    best = max(shares, default=0)
    if best <= MOSTLY:
        return None
    found = [column for column, share in enumerate(shares) if share == best]
    if len(found) > 1:
        likely = " and ".join(f"'{names[column]}'" for column in found[:5])
        raise FileUnreadable(shard.file, f"has classes in the columns {likely}", "name the right one in preprocess.label_column")
    return found[0]


def _text_column(rows: Sequence[list[str]], label: int | None) -> int | None:
    """Return the column with the longest values."""
    width = min(map(len, rows), default=0)
    sizes = {column: sum(len(row[column]) for row in rows) for column in range(width) if column != label}
    return max(sizes, key=lambda column: sizes[column], default=None)
