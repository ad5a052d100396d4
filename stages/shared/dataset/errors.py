"""Errors about labels that are not classes, and about classes that are too small to split."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.shared.errors import StageError
from stages.shared.sources.tables import LIST_SEPARATOR, SHOWN, shortened

JOINS = (",", "|", ";")  # that may join several labels


def one_of(remedies: Sequence[str]) -> str:
    """Return remedies as a part of a sentence."""
    return ", or ".join([part for part in (", ".join(remedies[:-1]), remedies[-1]) if part])


class Unknown(NamedTuple):
    """How many rows have an unknown label, and where the first of them is."""

    rows: int
    file: Path
    line: int

    def again(self) -> "Unknown":
        """Return the same with one row more."""
        return self._replace(rows=self.rows + 1)


class LabelsUnknown(StageError):
    """A source has labels that are neither a class name nor a class id."""

    def __init__(self, found: Mapping[str, Unknown], class_names: Iterable[str]) -> None:
        most = sorted(found.items(), key=lambda item: -item[1].rows)
        shown = ", ".join(f"{_shown(label)!r} ({_rows(where.rows)}, first in line {where.line:,})" for label, where in most[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        known = ", ".join(f"{name} = {number}" for number, name in enumerate(class_names))
        super().__init__(
            f"{most[0][1].file} has {_rows(sum(where.rows for where in found.values()))} whose label is not a class: {shown}{more}. "
            f"The classes are {known}. Correct the rows, name the classes in preprocess.labels, "
            f"map the values to classes in preprocess.label_values, or drop them with preprocess.ignore_labels"
        )


def _shown(label: str) -> str:
    return shortened(label.replace(LIST_SEPARATOR, ", ")) if label.strip() else "(empty)"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


class LabelsNotFound(StageError):
    """The label column of a source has too few or too many values to be classes."""

    def __init__(self, file: Path, column: str, found: Sequence[str]) -> None:
        shown = ", ".join(repr(shortened(name)) for name in found[:SHOWN]) + (", ..." if found[SHOWN:] else "")
        count = f"more than {len(found) - 1} different labels" if found[1:] else "fewer than two different labels"
        joined = next((sign for sign in JOINS if sum(sign in name for name in found) > len(found) / 2), None)
        remedies = ["name the right column in preprocess.label_column"]
        if found[1:]:
            remedies.append("the classes in preprocess.labels")
        if joined:
            remedies.append(f"the separator '{joined}' of several labels in preprocess.label_separator")
        super().__init__(f"{file} has {count} in the column '{column}' ({shown or 'none'}): {one_of(remedies)}")


class TooFewTexts(StageError):
    """Classes have too few texts for a train, a validation and a test split."""

    def __init__(self, file: Path, counts: Mapping[str, int], needed: int, remedies: Sequence[str]) -> None:
        """remedies: what helps, but for more rows."""
        shown = ", ".join(f"'{name}' has {count:,}" for name, count in counts.items())
        super().__init__(
            f"{file} cannot be split: {shown} (texts after cleaning; texts that share a split count as one). "
            f"Every class needs at least {needed}: {one_of(['add rows', *remedies])}"
        )


class GroupsTooLarge(StageError):
    """The texts outside large groups are too few for a validation and a test split of the asked sizes."""

    def __init__(self, file: Path, share: float, remedies: Sequence[str]) -> None:
        """share: of the rows, those in large groups. remedies: what gives smaller groups."""
        super().__init__(
            f"{file} cannot be split: {share:.0%} of the rows are in large groups of texts that share a split, "
            f"and the others do not fill validation and test: "
            f"{one_of([*remedies, 'lower preprocess.validation_size and preprocess.test_size'])}"
        )
