"""Rows of a file of texts: what a reader yields, the answer of each row, and the protocol of a reader."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from serving.inference.labels import label_name

if TYPE_CHECKING:
    from serving.inference.classifier import Predictions

MAX_ROW = 1_000_000  # characters
ANSWER = ("label", "score", "error")


class RowsBroken(Exception):
    """A file that cannot be read any further; the text is a sentence for the user and holds nothing of the file."""


class ColumnMissing(RowsBroken):
    """A header without the text's column. found: the names in it."""

    def __init__(self, found: list[str]) -> None:
        super().__init__("the header does not name the column with the texts")
        self.found = found


class NotDecoded(RowsBroken):
    """Bytes that are not of the encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(f"the file is not {encoding.upper().removesuffix('-SIG')}")


class Row(NamedTuple):
    """text: what is to be classified, whatever it is. source: the row as it came, for its reader. problem: why it cannot be read."""

    text: object
    source: Any
    problem: str | None = None


class Answer(NamedTuple):
    """Label and score of a row, or the error that it has in their place."""

    label: str | None
    score: float | None
    error: str | None


class Rows(Protocol):
    """A file that is read and written row by row."""

    def feed(self, data: bytes) -> Iterator[Row]:
        """Yield the rows that are complete with this chunk; raise RowsBroken behind the last good one."""

    def end(self) -> Iterator[Row]:
        """Yield what is left, now that no chunk follows; raise RowsBroken where it is no row."""

    def head(self) -> bytes:
        """Return what stands before the first row; to be asked after a row was read, or the end."""

    def line(self, row: Row, answer: Answer) -> bytes:
        """Return a row with its answer."""

    def failure(self, sentence: str) -> bytes:
        """Return a last row that tells why none follows."""


def answers_of(problems: Sequence[str | None], predictions: "Predictions") -> list[Answer]:
    """Return an answer for each row. problems: why a row has none; the predictions are those of the other rows."""
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
    """Return the names of the answer's columns: label, score, error, or predicted_... where the file has one of these."""
    for names in (ANSWER, tuple(f"predicted_{name}" for name in ANSWER)):
        if not any(name in taken for name in names):
            return names
    raise RowsBroken("the file has a column predicted_... already: it was scored before")
