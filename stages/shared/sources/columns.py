"""Find the columns of text and label: by their names, or in a table without a header by what stands in them."""

from collections.abc import Sequence

from stages.shared import aihub
from stages.shared.errors import ColumnMissing, SourceUnreadable
from stages.shared.sources.files import Shard
from stages.shared.sources.rows import AUTO, LABEL_NAMES, TEXT_NAMES, Columns, Reading

MOSTLY = 0.5  # share of the values that must be classes for a column to be that of the labels


def columns_of(shard: Shard, first: Sequence[list[str]], how: Reading) -> Columns:
    """Find the columns in the first rows of a table, the header among them; raise ColumnMissing or SourceUnreadable."""
    header = [name.strip() for name in first[0]]
    if how.text_column == how.label_column == AUTO and set(aihub.TABLE_COLUMNS) <= set(header):
        sentence, *emotion = map(header.index, aihub.TABLE_COLUMNS)
        return Columns(sentence, tuple(emotion), len(header), first[0], corpus=True)
    named = how.named_in(header)
    if how.header == "no" or (how.header == AUTO and not named and len(header) > 1 and any(map(how.knows, header))):
        return _without_names(shard, first, how)
    text = how.position(header, how.text_column, TEXT_NAMES)
    label = how.position(header, how.label_column, LABEL_NAMES)
    if label is None and how.label_column == AUTO:
        label = _label_column(first[1:], how)
    if text is None and how.text_column == AUTO and label is not None:
        text = _text_column(first[1:], label)
    if text is None:
        raise ColumnMissing(shard.file, TEXT_NAMES[0] if how.text_column == AUTO else how.text_column, "preprocess.text_column", header)
    if label is None:
        raise ColumnMissing(shard.file, LABEL_NAMES[0] if how.label_column == AUTO else how.label_column, "preprocess.label_column", header)
    for position in (text, label):
        if header.count(header[position]) > 1:
            raise SourceUnreadable(shard.file, f"has the column '{header[position]}' more than once", "rename or remove one of them")
    return Columns(text, (label,), len(header), first[0])


def _without_names(shard: Shard, first: Sequence[list[str]], how: Reading) -> Columns:
    width = len(first[0])
    label = _label_column(first, how) if how.label_column == AUTO else how.number(how.label_column, width)
    text = _text_column(first, label) if how.text_column == AUTO else how.number(how.text_column, width)
    if text is None or label is None:
        raise SourceUnreadable(
            shard.file, "has no header", "give the numbers of its columns, from 0, in preprocess.text_column and preprocess.label_column"
        )
    return Columns(text, (label,), width, None)


def _label_column(rows: Sequence[list[str]], how: Reading) -> int | None:
    """Return the column in which most is a class; of several the last, where tables have it."""
    width = min(map(len, rows), default=0)
    shares = [sum(how.knows(row[column]) for row in rows) / len(rows) for column in range(width)]
    best = max(shares, default=0)
    return max(column for column, share in enumerate(shares) if share == best) if best > MOSTLY else None


def _text_column(rows: Sequence[list[str]], label: int | None) -> int | None:
    """Return the column with the longest values."""
    width = min(map(len, rows), default=0)
    sizes = {column: sum(len(row[column]) for row in rows) for column in range(width) if column != label}
    return max(sizes, key=lambda column: sizes[column], default=None)
