"""Plain text: one text a line, or one text a file; and labels on the lines of a file of their own.

In: a shard. Out: its rows.
"""

from collections.abc import Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path

from serving.tables.csv_records import encoding_for, lines_of
from serving.tables.errors import FileUnreadable
from serving.tables.files import ReadObserver, Shard
from serving.tables.labelled import MAX_CHARACTERS, LabelledRow, ReadOptions
from serving.tables.names import LABEL, has_known_name


def read_lines(shard: Shard, encoding: str, observer: ReadObserver) -> Iterator[LabelledRow]:
    """Yield each line as a text without a label."""
    with lines_of(shard, encoding, observer) as lines:
        for number, line in enumerate(lines, 1):
            yield LabelledRow(line.rstrip("\r\n"), "", number)


def read_whole(shard: Shard, encoding: str, observer: ReadObserver) -> Iterator[LabelledRow]:
    """Yield the content of a file as one text without a label; raise FileUnreadable if it is too long for one."""
    text = ""
    with lines_of(shard, encoding, observer) as lines:
        for line in lines:
            text += line
            if len(text) > MAX_CHARACTERS:
                problem = f"has over {MAX_CHARACTERS:,} characters"
                raise FileUnreadable(shard.file, problem, "give one text a file, or set {label_column} to file for one a line")
    yield LabelledRow(text, "", 1)


def labelled_by(rows: Iterator[LabelledRow], file: Path, labels: Shard, observer: ReadObserver) -> Iterator[LabelledRow]:
    """Yield each row of a file with the same line of another file as its label; raise FileUnreadable if one has more.

    A table begins with the name of its column of labels. Blank texts or labels that only one file has at its end do not count.
    """
    counts, is_longer = [0, 0], False
    with lines_of(labels, encoding_for(labels, ReadOptions(None)), observer) as lines:
        first = list(islice(lines, 1))
        is_header = labels.kind == "delimited" and has_known_name(first, LABEL)
        for number, (row, line) in enumerate(zip_longest(rows, lines if is_header else chain(first, lines)), 1):
            counts = [count if part is None else number for count, part in zip(counts, (row, line), strict=True)]
            label = (line or "").strip()
            if row and line is not None:
                yield row._replace(label=label)
            elif label or (row and row.text.strip()):
                is_longer = True
    if is_longer:
        raise FileUnreadable(file, f"has {counts[0]:,} texts, but {labels.file} has {counts[1]:,} lines", "give one label for each text")
