"""What the labels of a source mean: the classes of the task, reasons to drop a row, and what a person has put right."""

import logging
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import model_validator

from serving.inference.redaction import Kind, redact
from serving.inference.text import clean_text
from stages.shared import aihub
from stages.shared.classes import ClassParams
from stages.shared.errors import LabelsUnknown, SourceUnreadable
from stages.shared.formulas import as_written
from stages.shared.sources.rows import Reading
from stages.shared.sources.source import Source

log = logging.getLogger("preprocess")


class LabelParams(ClassParams):
    """The part of the preprocess section that says what labels, and corrected texts, mean."""

    label_values: tuple[tuple[str, ...], ...]
    label_separator: str
    ignore_labels: tuple[str, ...]
    redact: tuple[Kind, ...]

    @model_validator(mode="after")
    def _values_fit_the_labels(self) -> Self:
        values = [_key(value) for values in self.label_values for value in values]
        if self.label_values and len(self.label_values) != len(self.labels):
            raise ValueError(
                f"label_values has {len(self.label_values)} lists: give one for each of the {len(self.labels)} labels, in their order"
            )
        if len(set(values)) < len(values):
            raise ValueError("label_values has a value twice: each means one class")
        return self

    def class_of(self, label: str) -> int | None:
        """Return the class id of a label as it stands in a file: of a name, or of a value; where there are no values, of an id."""
        return self._class_by_value.get(_key(label)) if self.label_values else self.label_id(label)

    @cached_property
    def _class_by_value(self) -> dict[str, int]:
        names = {_key(name): number for number, name in enumerate(self.labels)}
        return names | {_key(value): number for number, values in enumerate(self.label_values) for value in values}


class Verdict(NamedTuple):
    """What a label means: a class id, a reason to drop the row, or neither where it is unknown."""

    label: int | None
    reason: str | None


class Labels:
    """What the labels of a source mean, each asked for once."""

    def __init__(self, settings: LabelParams) -> None:
        self._settings = settings
        self._verdicts: dict[str, Verdict] = {}
        self.unknown: Counter[str] = Counter()
        self.corpus = False  # AI Hub codes or names

    def knows(self, label: str) -> bool:
        """Tell whether a value of a file is a label."""
        verdict = self._verdict(label)
        return verdict.label is not None or verdict.reason is not None

    def verdict(self, label: str) -> Verdict:
        """Return what a label means, and count it where it is unknown."""
        verdict = self._verdicts.get(label)
        if verdict is None:
            verdict = self._verdicts[label] = self._verdict(label)
        if verdict.label is None and verdict.reason is None:
            self.unknown[label] += 1
        return verdict

    def _verdict(self, label: str) -> Verdict:
        settings = self._settings
        if self.corpus:
            code = aihub.code_of(label)
            return Verdict(settings.id_by_emotion[code] if code else None, None)
        values = label.split(settings.label_separator) if settings.label_separator else [label]
        ignored = {_key(value) for value in settings.ignore_labels}
        if any(_key(value) in ignored for value in values):
            return Verdict(None, "ignored_label")
        ids = {settings.class_of(value) for value in values}
        if None in ids:
            return Verdict(None, None)
        return Verdict(ids.pop(), None) if len(ids) == 1 else Verdict(None, "several_labels")


def _key(label: str) -> str:
    return clean_text(label).casefold()


class Corrections:
    """Labels that a person has put right, by text. counts: rows that were changed, and corrections whose text no source has."""

    def __init__(self, file: Path, settings: LabelParams) -> None:
        how = Reading(lambda _: False, "text", "label", separator=",", quoting="csv", header="yes")
        self._file = file
        self._verdicts: dict[str, Verdict] = {}
        self._used: set[str] = set()
        self._rows = 0
        unknown: Counter[str] = Counter()
        for row in Source(file, how, optional=True).rows():
            text, label = redact(clean_text(as_written(row.text)), settings.redact), settings.class_of(row.label)
            if label is None and row.label.strip():
                unknown[row.label] += 1
            verdict = Verdict(label, None if row.label.strip() else "corrected")
            if self._verdicts.setdefault(text, verdict) != verdict:
                raise SourceUnreadable(file, f"corrects one text in two ways (line {row.line:,})", "leave one of them")
        if unknown:
            raise LabelsUnknown(file, dict(unknown.most_common()), settings.labels)

    def verdict(self, text: str) -> Verdict | None:
        """Return what a clean text's label was put right to, if it was."""
        verdict = self._verdicts.get(text)
        if verdict:
            self._rows += 1
            self._used.add(text)
        return verdict

    @property
    def counts(self) -> dict[str, int]:
        return {"rows": self._rows, "without_row": len(self._verdicts) - len(self._used)}

    def report(self) -> None:
        """Log what was corrected, and warn of what has nothing to correct."""
        if self._verdicts:
            log.info("%s: %s rows corrected", self._file, f"{self._rows:,}")
        if missing := [text for text in self._verdicts if text not in self._used]:
            log.warning("%s: no source has %s of its texts, the first of them %.80r", self._file, f"{len(missing):,}", missing[0])
