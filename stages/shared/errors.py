"""What a stage says when it cannot do its work: what is wrong, where, and what to do next.

The classes take facts and write the sentence, so that a call site is one line.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

SHOWN = 10  # of a list of values
LONGEST = 60  # characters of a value


class StageError(Exception):
    """A stage cannot do its work, for a reason that the user can mend."""


class ParamsInvalid(StageError):
    """A value in params.yaml that the stage does not accept."""

    def __init__(self, file: Path, problems: Iterable[str]) -> None:
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))


class SourceUnreadable(StageError):
    """A source file that cannot be read as what it claims to be."""

    def __init__(self, file: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{file} {problem}: {remedy}")


class ColumnMissing(StageError):
    """A table without a column that the params name."""

    def __init__(self, file: Path, wanted: str, param: str, found: Iterable[str]) -> None:
        columns = list(found)
        names = ", ".join(f"'{_short(name)}'" for name in columns[:SHOWN]) + (
            f" and {len(columns) - SHOWN} more" if columns[SHOWN:] else ""
        )
        super().__init__(f"{file} has no column '{wanted}' (found: {names}): name the right one in {param}")


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


class Unavailable(StageError):
    """Something outside the project (a network, a package, a server) that a stage needs and cannot reach."""
