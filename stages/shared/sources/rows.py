"""What every kind of source gives: rows of a text and a label, and how they were found."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

AUTO = "auto"
# Names of columns in data sets that people bring, the likeliest first.
TEXT_NAMES = (
    *("text", "sentence", "document", "review", "reviewtext", "review_text", "content", "comment", "comment_text", "tweet", "utterance"),
    *("message", "body", "sentences", "texts", "문장", "텍스트", "리뷰", "댓글", "내용", "발화", "본문"),
)
LABEL_NAMES = (
    *("label", "labels", "sentiment", "polarity", "class", "category", "emotion", "target", "score", "rating", "stars"),
    *("라벨", "레이블", "감성", "감정", "극성", "정서", "평가", "분류"),
)


class Row(NamedTuple):
    """A text and its label as they stand in the file. line: of its end, or its number. person: who spoke, where the source says it."""

    text: str
    label: str
    line: int
    person: str = ""


@dataclass(frozen=True)
class Columns:
    """Where text and label stand, of how many columns. names: those of the header, or None where there is none.

    corpus: the table is an AI Hub edition, whose label is of two columns, group and emotion. guessed: `text` or `label`, where the
    column was chosen by its values.
    """

    text: int
    labels: tuple[int, ...]
    width: int
    names: list[str] | None
    corpus: bool = False
    guessed: tuple[str, ...] = ()

    def label_of(self, fields: Sequence[str]) -> str:
        """Return the label of a row."""
        return "/".join(fields[position] for position in self.labels)

    @property
    def facts(self) -> dict[str, str]:
        """What the report says of them."""
        text, *labels = [str(at) if self.names is None else self.names[at].strip() for at in (self.text, *self.labels)]
        found = {"header": "no" if self.names is None else "yes", "text_column": text, "label_column": "/".join(labels)}
        return found | ({"guessed": " and ".join(self.guessed)} if self.guessed else {})


@dataclass(frozen=True)
class ReadOptions:
    """What the user says about a source; `auto` is found out.

    knows: tells whether a value is a label of the task. loose: rows may have more fields than the header.
    """

    knows: Callable[[str], bool]
    text_column: str = AUTO
    label_column: str = AUTO
    encoding: str = AUTO
    separator: str = AUTO
    quoting: str = AUTO
    header: str = AUTO
    loose: bool = False

    def named_in(self, header: Sequence[str]) -> bool:
        """Tell whether a header names both columns."""
        text = self.position(header, self.text_column, TEXT_NAMES)
        return text is not None and self.position(header, self.label_column, LABEL_NAMES) is not None

    @staticmethod
    def position(header: Sequence[str], wanted: str, likely: Sequence[str]) -> int | None:
        """Return the position of a named column, or of the likeliest."""
        if wanted != AUTO:
            return header.index(wanted) if wanted in header else None
        names = [unicodedata.normalize("NFC", name).strip().casefold() for name in header]
        return next((names.index(name) for name in likely if name in names), None)

    @staticmethod
    def number(column: str, width: int) -> int | None:
        """Return the position that a number names in a table of so many columns."""
        return int(column) if column.isdecimal() and int(column) < width else None
