"""Rows of a file of texts: what a reader yields, the answer to each row, and the protocol of a reader."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from serving.inference.labels import label_name
from serving.tables.errors import FileUnreadable

if TYPE_CHECKING:
    from serving.inference.classifier import Predictions

MAX_COLUMNS = 4096  # each row of a table goes out with all columns of the header, even if it came with one cell
DETAILS = ("class_name", "uncertain", "truncated")


class RowsBroken(Exception):
    """A file that cannot be read further. The message is for the user, and quotes nothing of the file."""


class ColumnMissing(RowsBroken):
    """A header without the column of the texts. found: the names that it has."""

    def __init__(self, found: list[str]) -> None:
        super().__init__("the header does not have the column of the texts: add it, or name another column")
        self.found = found


class ColumnUnsure(RowsBroken):
    """A file in which no column surely holds the texts. reason: the error of the search, which quotes names of the file."""

    def __init__(self, reason: FileUnreadable) -> None:
        super().__init__("no column surely holds the texts: name it, and give each column a name of its own")
        self.reason = reason


class Row(NamedTuple):
    """text: the value to classify, which may be of any type. source: the row as its reader needs it. problem: why it is unreadable."""

    text: object
    source: Any
    problem: str | None = None


class Answer(NamedTuple):
    """The label and score of a row, or its error. details: the values of the columns between score and error."""

    label: str | None
    score: float | None
    error: str | None
    details: tuple[str | bool | float | None, ...] = ()

    @property
    def values(self) -> tuple[Any, ...]:
        """The values of all columns of the answer, in their order."""
        return (self.label, self.score, *self.details, self.error)


class Rows(Protocol):
    """A file that is read and written row by row. column: the column or key of the texts, which is known when the first row is."""

    column: str

    def feed(self, data: bytes) -> Iterator[Row]:
        """Yield the rows that this chunk completes; an empty chunk says that no more bytes come for now.

        Raise RowsBroken after the last good row.
        """

    def end(self) -> Iterator[Row]:
        """Yield the remaining rows after the last chunk. Raise RowsBroken if the file is incomplete."""

    def head(self) -> bytes:
        """Return the part before the first row. Call it after the first row or after `end`."""

    def line(self, row: Row, answer: Answer) -> bytes:
        """Return a row with its answer."""

    def failure(self, message: str) -> bytes:
        """Return a last row with an error that says why no row follows."""


def answers_of(problems: Sequence[str | None], predictions: "Predictions", class_names: Sequence[str] = ()) -> list[Answer]:
    """Return an answer for each row.

    problems: why a row is unreadable, or None. predictions: of the rows without a problem. class_names: for details, if they are wanted.
    """
    found = zip(predictions.label_ids.tolist(), predictions.scores.tolist(), _details_of(predictions, class_names), strict=True)
    nothing = (None,) * (len(answer_columns(class_names)) - len(answer_columns()))
    answers = []
    for problem in problems:
        if problem:
            answers.append(Answer(None, None, problem, nothing))
        else:
            label_id, score, details = next(found)
            answers.append(Answer(label_name(label_id), score, None, details))
    return answers


def _details_of(predictions: "Predictions", class_names: Sequence[str]) -> Iterable[tuple[str | bool | float, ...]]:
    if not class_names:
        return repeat((), len(predictions.label_ids))
    names = [class_names[label_id] for label_id in predictions.label_ids.tolist()]
    columns = (names, predictions.uncertain.tolist(), predictions.truncated.tolist(), *predictions.probabilities.T.tolist())
    return zip(*columns, strict=True)


def answer_columns(class_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns of an answer. class_names: for details, if they are wanted."""
    details = (*DETAILS, *(f"score_{name}" for name in class_names)) if class_names else ()
    return ("label", "score", *details, "error")


def answer_names(taken: Collection[str], columns: Sequence[str] = answer_columns()) -> tuple[str, ...]:
    """Return the names of the answer's columns: as they are, or predicted_... if the file has one of these."""
    for names in (tuple(columns), tuple(f"predicted_{name}" for name in columns)):
        if not any(name in taken for name in names):
            return names
    raise RowsBroken("the file has a column predicted_... already, because it was scored before: remove the columns with answers")
