"""Rows of a file of texts: what a reader yields, the answer to each row, and the protocol of a reader."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from serving.inference.labels import label_name

if TYPE_CHECKING:
    from serving.inference.classifier import Predictions

ANSWER = ("label", "score", "error")


class RowsBroken(Exception):
    """A file that cannot be read further. The message is for the user, and quotes nothing of the file."""


class ColumnMissing(RowsBroken):
    """A header without the column of the texts. found: the names that it has."""

    def __init__(self, found: list[str]) -> None:
        super().__init__("the header does not have the column of the texts: add it, or name another column")
        self.found = found


class Row(NamedTuple):
    """text: the value to classify, which may be of any type. source: the row as its reader needs it. problem: why it is unreadable."""

    text: object
    source: Any
    problem: str | None = None


class Answer(NamedTuple):
    """The label and score of a row, or its error."""

    label: str | None
    score: float | None
    error: str | None


class Rows(Protocol):
    """A file that is read and written row by row."""

    def feed(self, data: bytes) -> Iterator[Row]:
        """Yield the rows that this chunk completes. Raise RowsBroken after the last good row."""

    def end(self) -> Iterator[Row]:
        """Yield the remaining rows after the last chunk. Raise RowsBroken if the file is incomplete."""

    def head(self) -> bytes:
        """Return the part before the first row. Call it after the first row or after `end`."""

    def line(self, row: Row, answer: Answer) -> bytes:
        """Return a row with its answer."""

    def failure(self, message: str) -> bytes:
        """Return a last row with an error that says why no row follows."""


def answers_of(problems: Sequence[str | None], predictions: "Predictions") -> list[Answer]:
    """Return an answer for each row. problems: why a row is unreadable, or None. predictions: of the rows without a problem."""
    found = zip(predictions.label_ids.tolist(), predictions.scores.tolist(), strict=True)
    answers = []
    for problem in problems:
        if problem:
            answers.append(Answer(None, None, problem))
        else:
            label_id, score = next(found)
            answers.append(Answer(label_name(label_id), score, None))
    return answers


def answer_names(taken: list[str] | dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the answer's columns: label, score and error, or predicted_... if the file has one of these."""
    for names in (ANSWER, tuple(f"predicted_{name}" for name in ANSWER)):
        if not any(name in taken for name in names):
            return names
    raise RowsBroken("the file has a column predicted_... already, because it was scored before: remove the columns with answers")
