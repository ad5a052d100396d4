"""Errors about labels, and about classes that are too small to split."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from stages.shared.errors import StageError

SHOWN = 10  # labels
LONGEST = 60  # characters of a label


class Unknown(NamedTuple):
    """How often a label was met, and where first."""

    rows: int
    file: Path
    line: int

    def again(self) -> "Unknown":
        return self._replace(rows=self.rows + 1)


class LabelsUnknown(StageError):
    """Labels in a source that are neither a class name nor a class id."""

    def __init__(self, found: Mapping[str, Unknown], class_names: Iterable[str]) -> None:
        most = sorted(found.items(), key=lambda item: -item[1].rows)
        shown = ", ".join(
            f"{_short(label) if label.strip() else '(empty)'!r} ({where.rows:,} rows, first in line {where.line:,})"
            for label, where in most[:SHOWN]
        )
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        known = ", ".join(f"{name} = {number}" for number, name in enumerate(class_names))
        super().__init__(
            f"{most[0][1].file} has {sum(where.rows for where in found.values()):,} rows whose label is no class: {shown}{more}. "
            f"The classes are {known}: correct the rows, name the classes in preprocess.labels, "
            f"or say in preprocess.label_values what values mean them"
        )


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}..."


class TooFewTexts(StageError):
    """Classes with too few texts for a train, a validation and a test split."""

    def __init__(self, file: Path, counts: Mapping[str, int], needed: int) -> None:
        shown = ", ".join(f"'{name}' has {count:,}" for name, count in counts.items())
        super().__init__(
            f"{file} cannot be split: {shown} (texts, after cleaning; like ones, and those of one person, count as one), "
            f"and every class needs at least {needed}: add rows, raise preprocess.max_rows or preprocess.near_duplicates, "
            f"or take the class out of preprocess.labels and of the file"
        )
