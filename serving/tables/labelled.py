"""What all readers of labelled files share: a row, the columns it comes from, and the options for reading."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serving.tables.facts import SourceFacts

AUTO = "auto"
MAX_CHARACTERS = 1_000_000  # of a line, a record and a row: no text is as long, and a longer one would fill the memory
LIST_SEPARATOR = "\x1f"  # joins the labels that a record holds as a list: no label contains it


class LabelledRow(NamedTuple):
    """A text and its label as they stand in the file.

    line: the line in which the row ends, or its number. person: who spoke, where the source says it.
    """

    text: str
    label: str
    line: int
    person: str = ""


@dataclass(frozen=True)
class Columns:
    """The positions of text and label among the columns of a table.

    labels: one position, or several in a known table. width: the number of columns. names: the header, or None without one.
    is_known: whether it is the known table of the options. guessed: `text` or `label`, where the column was chosen by its values.
    titles: the number of title rows above the header.
    """

    text: int
    labels: tuple[int, ...]
    width: int
    names: list[str] | None
    is_known: bool = False
    guessed: tuple[str, ...] = ()
    titles: int = 0

    @property
    def rows_above(self) -> int:
        """The number of rows above the data: titles and the header."""
        return self.titles + (self.names is not None)

    def label_of(self, fields: Sequence[str]) -> str:
        """Return the label of a row."""
        return "/".join(fields[position] for position in self.labels)

    @property
    def record_facts(self) -> SourceFacts:
        """The facts of records, where every value has a name."""
        return dataclasses.replace(self.facts, header=())

    @property
    def facts(self) -> SourceFacts:
        text, *labels = [str(at) if self.names is None else self.names[at].strip() for at in (self.text, *self.labels)]
        header = "no" if self.names is None else "yes"
        found = SourceFacts.of_file(header=header, text_column=text, label_column="/".join(labels))
        found |= SourceFacts.of_file(title_rows=str(self.titles)) if self.titles else SourceFacts()
        return found | SourceFacts(guessed=self.guessed)


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source. A reader detects each option that is `auto`.

    is_label: whether a value is a label of the task; None: the labels are not known yet. has_labels: whether a column holds labels.
    allow_extra_fields: rows may have more fields than the header.
    known_table: the names of the text and label columns of a table that is recognized before all guesses.
    """

    is_label: Callable[[str], bool] | None
    text_column: str = AUTO
    label_column: str = AUTO
    encoding: str = AUTO
    separator: str = AUTO
    quoting: str = AUTO
    header: str = AUTO
    has_labels: bool = True
    allow_extra_fields: bool = False
    known_table: tuple[str, ...] = ()

    @staticmethod
    def number(column: str, width: int) -> int | None:
        """Return the position that `column` gives as a number, or None if a table of `width` columns does not have it."""
        return int(column) if column.isdecimal() and int(column) < width else None
