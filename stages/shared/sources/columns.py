"""Find the columns of text and label: by their names, or in a table without a header by what stands in them."""

from collections.abc import Sequence

from stages.shared import aihub
from stages.shared.errors import FileUnreadable
from stages.shared.sources.errors import ColumnMissing
from stages.shared.sources.files import Shard
from stages.shared.sources.rows import AUTO, LABEL_NAMES, TEXT_NAMES, Columns, ReadOptions

SHOWN = 120  # characters of a header in a sentence
MOSTLY = 0.5  # share of the values that must be classes for a column to be that of the labels


def columns_of(shard: Shard, first: Sequence[list[str]], how: ReadOptions) -> Columns:
    """Find the columns in the first rows of a table, the header among them; raise ColumnMissing or FileUnreadable."""
    header, rows = [name.strip() for name in first[0]], first[1:]
    if rows and not how.loose and all(len(row) > len(header) for row in rows):
        raise FileUnreadable(
            shard.file, f"has {len(header)} fields in its first row and {len(rows[0])} in the next", "the first row must name the columns"
        )
    if how.text_column == how.label_column == AUTO and set(aihub.TABLE_COLUMNS) <= set(header):
        sentence, *emotion = map(header.index, aihub.TABLE_COLUMNS)
        return Columns(sentence, tuple(emotion), len(header), first[0], corpus=True)
    if how.header == "no" or (how.header == AUTO and not how.named_in(header) and _is_row(header, rows, how)):
        return _without_names(shard, first, how)
    text = how.position(header, how.text_column, TEXT_NAMES)
    label = how.position(header, how.label_column, LABEL_NAMES)
    guessed = [name for name, position in (("text", text), ("label", label)) if position is None]
    if label is None and how.label_column == AUTO:
        label = _label_column(shard, header, rows, how)
    if text is None and how.text_column == AUTO and label is not None:
        text = _text_column(rows, label)
    if text is None:
        raise ColumnMissing(shard.file, TEXT_NAMES[0] if how.text_column == AUTO else how.text_column, "preprocess.text_column", header)
    if label is None:
        raise ColumnMissing(shard.file, LABEL_NAMES[0] if how.label_column == AUTO else how.label_column, "preprocess.label_column", header)
    if how.header == AUTO and len(guessed) == 2:
        raise FileUnreadable(
            shard.file,
            f"has a first row that may name the columns or be a row: {', '.join(header)[:SHOWN]}",
            "set preprocess.header to yes or no, or name the columns in preprocess.text_column and preprocess.label_column",
        )
    names = [name.casefold() for name in header]
    for position in (text, label):
        if names.count(names[position]) > 1:
            raise FileUnreadable(shard.file, f"has the column '{header[position]}' more than once", "rename or remove one of them")
    return Columns(text, (label,), len(header), first[0], guessed=tuple(guessed))


def _is_row(header: Sequence[str], rows: Sequence[list[str]], how: ReadOptions) -> bool:
    """Tell a first row from a header: it has a label, of the kind of those below it, where a header may have a class for a name."""
    return len(header) > 1 and any(
        how.knows(name) and (not rows or any(how.knows(row[place]) and _is_number(row[place]) == _is_number(name) for row in rows))
        for place, name in enumerate(header)
        if all(place < len(row) for row in rows)
    )


def _is_number(label: str) -> bool:
    return label.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _without_names(shard: Shard, first: Sequence[list[str]], how: ReadOptions) -> Columns:
    width = len(first[0])
    numbers = list(map(str, range(width)))
    label = _label_column(shard, numbers, first, how) if how.label_column == AUTO else how.number(how.label_column, width)
    text = _text_column(first, label) if how.text_column == AUTO else how.number(how.text_column, width)
    if text is None or label is None:
        raise FileUnreadable(
            shard.file, "has no header", "give the numbers of its columns, from 0, in preprocess.text_column and preprocess.label_column"
        )
    return Columns(text, (label,), width, None)


def _label_column(shard: Shard, names: Sequence[str], rows: Sequence[list[str]], how: ReadOptions) -> int | None:
    """Return the column in which most is a class; raise FileUnreadable where it is not the only one."""
    width = min(map(len, rows), default=0)
    shares = [sum(how.knows(row[column]) for row in rows) / len(rows) for column in range(width)]
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
