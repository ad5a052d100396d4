"""What the labels of a source mean: the classes of the task, reasons to drop a row, and what a person has put right."""

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import model_validator

from serving.inference.redaction import Kind, redact
from serving.inference.text import clean_text
from stages.shared import aihub
from stages.shared.classes import ClassParams, label_key
from stages.shared.dataset.errors import LabelsUnknown, Unknown
from stages.shared.errors import FileUnreadable
from stages.shared.sources.errors import ColumnMissing
from stages.shared.sources.rows import ReadOptions
from stages.shared.sources.source import Source
from stages.shared.spreadsheet import unescape_formula

log = logging.getLogger("preprocess")


class LabelParams(ClassParams):
    """The part of the preprocess section that says what labels, and corrected texts, mean."""

    label_values: tuple[tuple[str, ...], ...]
    label_separator: str
    ignore_labels: tuple[str, ...]
    redact: tuple[Kind, ...]

    @model_validator(mode="after")
    def _values_fit_the_labels(self) -> Self:
        values = [label_key(value) for values in self.label_values for value in values]
        if self.label_values and len(self.label_values) != len(self.labels):
            raise ValueError(
                f"label_values has {len(self.label_values)} lists: give one for each of the {len(self.labels)} labels, in their order"
            )
        if len(set(values)) < len(values):
            raise ValueError("label_values has a value twice: each means one class")
        return self

    def class_of(self, label: str) -> int | None:
        """Return the class id of a label as it stands in a file: of a name, or of a value; where there are no values, of an id."""
        return self._class_by_value.get(label_key(label)) if self.label_values else self.label_id(label)

    @cached_property
    def _class_by_value(self) -> dict[str, int]:
        names = {label_key(name): number for number, name in enumerate(self.labels)}
        return names | {label_key(value): number for number, values in enumerate(self.label_values) for value in values}


class Verdict(NamedTuple):
    """What a label means: a class id, a reason to drop the row, or neither where it is unknown."""

    label: int | None
    reason: str | None


class Labels:
    """What the labels of a source mean, each asked for once."""

    def __init__(self, settings: LabelParams) -> None:
        self._settings = settings
        self._ignored = {label_key(value) for value in settings.ignore_labels}
        self._verdicts: dict[str, Verdict] = {}
        self.unknown: dict[str, Unknown] = {}
        self.corpus = False  # AI Hub codes or names

    def knows(self, label: str) -> bool:
        """Tell whether a value of a file is a label."""
        verdict = self._verdict(label)
        return verdict.label is not None or verdict.reason is not None

    def verdict(self, label: str, file: Path, line: int) -> Verdict:
        """Return what a label means, and count it where it is unknown. file, line: where it stands."""
        verdict = self._verdicts.get(label)
        if verdict is None:
            verdict = self._verdicts[label] = self._verdict(label)
        if verdict.label is None and verdict.reason is None:
            self.unknown[label] = self.unknown.get(label, Unknown(0, file, line)).again()
        return verdict

    def _verdict(self, label: str) -> Verdict:
        settings = self._settings
        if self.corpus:
            code = aihub.code_of(label)
            return Verdict(settings.id_by_emotion[code] if code else None, None)
        values = label.split(settings.label_separator) if settings.label_separator else [label]
        if any(label_key(value) in self._ignored for value in values):
            return Verdict(None, "ignored_label")
        ids = {settings.class_of(value) for value in values}
        if None in ids:
            return Verdict(None, None)
        return Verdict(ids.pop(), None) if len(ids) == 1 else Verdict(None, "several_labels")


class Corrections:
    """Labels that a person has put right, by text. counts: rows that were changed, and corrections whose text no source has."""

    def __init__(self, file: Path, settings: LabelParams, key: Callable[[str], str]) -> None:
        """Read them. key: of a text, for all rows that are the same by it are put right."""
        self._file = file
        self._key = key
        self._verdicts: dict[str, Verdict] = {}
        self._used: set[str] = set()
        self._rows = 0
        unknown: dict[str, Unknown] = {}
        try:
            rows = list(Source(file, ReadOptions(lambda _: False, quoting="csv", header="yes", loose=True), optional=True).rows())
        except ColumnMissing:
            raise FileUnreadable(file, "has no columns text and label", "begin it with the line text,label") from None
        for row in rows:
            text, label = redact(clean_text(unescape_formula(row.text)), settings.redact), settings.class_of(row.label)
            if not text:
                continue
            if label is None and row.label.strip():
                unknown[row.label] = unknown.get(row.label, Unknown(0, file, row.line)).again()
            verdict = Verdict(label, None if row.label.strip() else "corrected")
            if self._verdicts.setdefault(self._name(text), verdict) != verdict:
                raise FileUnreadable(file, f"corrects one text in two ways (line {row.line:,})", "leave one of them")
        if unknown:
            raise LabelsUnknown(unknown, settings.labels)

    def _name(self, text: str) -> str:
        return self._key(text) or text

    def verdict(self, text: str) -> Verdict | None:
        """Return what a clean text's label was put right to, if it was."""
        if not self._verdicts:
            return None
        name = self._name(text)
        verdict = self._verdicts.get(name)
        if verdict:
            self._rows += 1
            self._used.add(name)
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
