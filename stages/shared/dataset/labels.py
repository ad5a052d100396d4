"""The meaning of a source's labels, and the corrections of a person.

In: labels as they stand in a file, and the file of corrections. Out: for each row a class id, or a reason to drop the row.
"""

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import model_validator

from serving.inference.redaction import Kind, redact
from serving.inference.text import clean_text
from stages.shared import aihub
from stages.shared.classes import AUTO, ClassParams, label_key
from stages.shared.dataset.errors import LabelsUnknown, Unknown
from stages.shared.errors import FileUnreadable, StageError
from stages.shared.sources.errors import ColumnMissing
from stages.shared.sources.source import Source
from stages.shared.sources.tables import LIST_SEPARATOR, ReadOptions
from stages.shared.spreadsheet import unescape_formula

log = logging.getLogger("labels")


class LabelParams(ClassParams):
    """The params of preprocess that give labels and corrected texts their meaning."""

    label_values: tuple[tuple[str, ...], ...]
    """For each class, in the order of `labels`, the values of the label column that mean it. Example: `[[1, 2], [4, 5]]` for ratings."""
    label_separator: str
    """Separator between several labels of one text. A text whose labels belong to several classes is dropped. Empty: one label."""
    ignore_labels: tuple[str, ...]
    """Values of the label column whose rows are dropped, such as `[neutral]`."""
    redact: tuple[Kind, ...]
    """Personal data that placeholders replace, in the splits and in every text that the service classifies: `url`, `email`, `phone`,
    `name`.
    """

    @model_validator(mode="after")
    def _values_fit_the_labels(self) -> Self:
        values = [label_key(value) for values in self.label_values for value in values]
        if self.label_values and self.labels == AUTO:
            raise ValueError("label_values needs class names: set labels to a list, in the order of label_values")
        if self.label_values and len(self.label_values) != len(self.labels):
            raise ValueError(
                f"label_values has {len(self.label_values)} lists: give one list for each of the {len(self.labels)} labels, in their order"
            )
        if len(set(values)) < len(values):
            raise ValueError("label_values has a value twice: give each value to one class")
        return self

    def class_of(self, label: str) -> int | None:
        """Return the class id of a label as it stands in a file: a class name, a value, or, without label_values, a class id."""
        return self._class_by_value.get(label_key(label)) if self.label_values else self.label_id(label)

    def labels_in(self, value: str) -> list[str]:
        """Return the labels of a text, as they stand in a file."""
        parts = value.split(self.label_separator) if self.label_separator else [value]
        return [label for part in parts for label in part.split(LIST_SEPARATOR)]

    @cached_property
    def _class_by_value(self) -> dict[str, int]:
        names = {label_key(name): number for number, name in enumerate(self.names)}
        return names | {label_key(value): number for number, values in enumerate(self.label_values) for value in values}


class Verdict(NamedTuple):
    """The meaning of a label: a class id, a reason to drop the row, or neither if the label is unknown."""

    label: int | None
    reason: str | None


class Labels:
    """The meaning of the labels of a source, computed once for each label.

    is_aihub: whether the labels are codes or names of the AI Hub corpus. unknown: the unknown labels so far.
    """

    def __init__(self, settings: LabelParams) -> None:
        self._settings = settings
        self._ignored = {label_key(value) for value in settings.ignore_labels}
        self._verdicts: dict[str, Verdict] = {}
        self.unknown: dict[str, Unknown] = {}
        self.is_aihub = False

    def expect_aihub(self) -> None:
        """Read labels as those of the AI Hub corpus from now on, and log what polarity means. Raises StageError without two classes."""
        settings, self.is_aihub = self._settings, True
        if settings.aihub_target != "polarity":
            return
        if len(settings.class_names) != 2:
            count = len(settings.names)
            other = {6: "set aihub_target to emotion", 60: "set aihub_target to emotion_fine"}.get(count, "name two")
            raise StageError(f"preprocess.labels has {count} classes, but preprocess.aihub_target polarity needs two: {other}")
        joy, other = settings.names[settings.joy_id], settings.names[1 - settings.joy_id]
        log.info("AI Hub polarity: joy is '%s', the other five groups are '%s'", joy, other)

    def is_label(self, label: str) -> bool:
        """Tell whether a value in a file is a label, also one to ignore."""
        verdict = self._verdict(label)
        return verdict.label is not None or verdict.reason is not None

    def verdict(self, label: str, file: Path, line: int) -> Verdict:
        """Return the meaning of a label, and count the label if it is unknown. file, line: where it stands."""
        verdict = self._verdicts.get(label)
        if verdict is None:
            verdict = self._verdicts[label] = self._verdict(label)
        if verdict.label is None and verdict.reason is None:
            self.unknown[label] = self.unknown.get(label, Unknown(0, file, line)).again()
        return verdict

    def _verdict(self, label: str) -> Verdict:
        settings = self._settings
        if self.is_aihub:
            code = aihub.code_of(label)
            return Verdict(settings.id_by_emotion[code] if code else None, None)
        values = settings.labels_in(label)
        if any(label_key(value) in self._ignored for value in values):
            return Verdict(None, "ignored_label")
        ids = {settings.class_of(value) for value in values}
        if None in ids:
            return Verdict(None, None)
        return Verdict(ids.pop(), None) if len(ids) == 1 else Verdict(None, "several_labels")


class Corrections:
    """The labels that a person has corrected, by text."""

    def __init__(self, file: Path, settings: LabelParams, key: Callable[[str], str]) -> None:
        """Read the corrections. key: gives the key of a text; a correction changes all rows with its key."""
        self._file = file
        self._key = key
        self._verdicts: dict[str, Verdict] = {}
        self._used: set[str] = set()
        self._rows = 0
        labels = Labels(settings)
        try:
            options = ReadOptions(lambda _: False, quoting="csv", header="yes", allow_extra_fields=True)
            rows = list(Source(file, options, optional=True).rows())
        except ColumnMissing:
            raise FileUnreadable(file, "does not have the columns text and label", "begin it with the line text,label") from None
        for row in rows:
            text = redact(clean_text(unescape_formula(row.text)), settings.redact)
            if not text:
                continue
            verdict = labels.verdict(row.label, file, row.line) if row.label.strip() else Verdict(None, "corrected")
            if self._verdicts.setdefault(self._key_of(text), verdict) != verdict:
                raise FileUnreadable(file, f"corrects one text in two ways (line {row.line:,})", "keep one of them")
        if labels.unknown:
            raise LabelsUnknown(labels.unknown, settings.class_names)

    def _key_of(self, text: str) -> str:
        return self._key(text) or text

    def verdict(self, text: str) -> Verdict | None:
        """Return the corrected label of a clean text, or None if the text has no correction."""
        if not self._verdicts:
            return None
        key = self._key_of(text)
        verdict = self._verdicts.get(key)
        if verdict:
            self._rows += 1
            self._used.add(key)
        return verdict

    @property
    def counts(self) -> dict[str, int]:
        """Count the rows that were corrected, and the corrections whose text no source has."""
        return {"rows": self._rows, "without_row": len(self._verdicts) - len(self._used)}

    def report(self) -> None:
        """Log the corrected rows, and warn of corrections whose text no source has."""
        if self._verdicts:
            log.info("%s corrects %s rows", self._file, f"{self._rows:,}")
        if missing := [text for text in self._verdicts if text not in self._used]:
            log.warning("%s: no source has %s of its texts; the first is %.80r", self._file, f"{len(missing):,}", missing[0])
