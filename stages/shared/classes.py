"""The classes of the task: `preprocess.labels` and `preprocess.aihub_target` come in, class names in id order go out.

`preprocess` writes class ids into the splits and the class names into a file. `label_noise` and `train` read that file.
"""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from serving.inference.text import clean_text
from stages.shared import aihub
from stages.shared.errors import FileUnreadable
from stages.shared.params import Section

AUTO = "auto"
INTEGER = re.compile(r"-?\d+")
POINT_ZERO = re.compile(r"(?<=\d)\.0+$")
BOOLEANS = {"true": "1", "false": "0"}
BINARY = ("negative", "positive")
POSITIVE_NAMES = ("positive", "긍정", "긍정적")


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    cleaned = tuple(clean_text(name) for name in names)
    if not all(cleaned) or len(set(map(label_key, cleaned))) < len(cleaned):
        raise ValueError("class names must be distinct and not empty")
    return cleaned


class ClassParams(Section):
    """The params of the preprocess section that define the classes."""

    model_config = ConfigDict(coerce_numbers_to_str=True, extra="ignore")

    labels: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(_distinct)]
    """Class names in id order. The label column holds names or ids. `auto`: the values of the label column, sorted; at most 100."""
    aihub_target: Literal["polarity", "emotion", "emotion_fine"]
    """AI Hub corpus only. `polarity`: joy against the rest. `emotion`: the 6 groups. `emotion_fine`: the 60 codes."""

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Class names in id order: `labels`, or the names of the corpus if aihub_target is an emotion and `labels` are the default.

        If `labels` is `auto`, `with_labels` gives a model that has them.
        """
        return self.names if self._labels_name_the_classes else tuple(_emotion_classes(self.aihub_target).values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names in `labels`."""
        assert isinstance(self.labels, tuple), "the classes are not found yet"
        return self.labels

    def with_labels(self, labels: Sequence[str]) -> Self:
        """Return the same params with these class names."""
        return type(self).model_validate(self.model_dump() | {"labels": tuple(labels)})

    @property
    def _labels_name_the_classes(self) -> bool:
        return self.aihub_target == "polarity" or self.labels not in (BINARY, AUTO)

    def label_id(self, label: str) -> int | None:
        """Return the class id of a label in a file (class name or id), or None if it is not a class."""
        return self._ids_by_label.get(label_key(label))

    @cached_property
    def _ids_by_label(self) -> dict[str, int]:
        """Class names, and ids as text. If a name is a number, ids do not count: a number in the file is a name then."""
        by_name = {label_key(name): number for number, name in enumerate(self.class_names)}
        numbers = {name: number for name, number in by_name.items() if INTEGER.fullmatch(name)}
        numbers = numbers or {str(number): number for number in range(len(self.class_names))}
        return numbers | by_name

    @property
    def joy_id(self) -> int:
        """The class id of joy in polarity: the first class if it is named positive, else the second."""
        return 0 if label_key(self.names[0]) in POSITIVE_NAMES else 1

    @cached_property
    def id_by_emotion(self) -> dict[str, int]:
        """The class id of each of the 60 emotion codes of the AI Hub corpus."""
        if self.aihub_target == "polarity":
            return {code: self.joy_id if code.startswith(aihub.JOY) else 1 - self.joy_id for code in aihub.EMOTIONS}
        width = 2 if self.aihub_target == "emotion" else 3
        codes = list(_emotion_classes(self.aihub_target))
        if self._labels_name_the_classes:
            codes = [_code(self.aihub_target, name) or "" for name in self.names]
        return {code: codes.index(code[:width]) for code in aihub.EMOTIONS}

    @model_validator(mode="after")
    def _labels_fit_the_target(self) -> Self:
        if self.aihub_target == "polarity" or self.labels in (BINARY, AUTO):
            return self
        wanted = _emotion_classes(self.aihub_target)
        if {_code(self.aihub_target, name) for name in self.names} != set(wanted) or len(self.names) != len(wanted):
            raise ValueError(
                f"labels must name the {len(wanted)} classes of aihub_target {self.aihub_target} "
                f"({', '.join(list(wanted.values())[:6])}{', ...' if len(wanted) > 6 else ''}) in any order, or be [negative, positive]"
            )
        return self


def _emotion_classes(target: str) -> dict[str, str]:
    if target == "emotion":
        return {code: name.korean for code, name in aihub.GROUPS.items()}
    return {code: f"{code} {name.korean}" for code, name in aihub.EMOTIONS.items()}


def _code(target: str, label: str) -> str | None:
    """Return the code of the group or emotion that a class name means: code, Korean name or English name."""
    names = aihub.GROUPS if target == "emotion" else aihub.EMOTIONS
    for code, name in names.items():
        if label_key(label) in {label_key(form) for form in (code, name.korean, f"{code} {name.korean}", name.english)}:
            return code
    return None


def label_key(label: str) -> str:
    """Normalize a label for comparison: `1.0` (pandas writes it for 1 beside missing values) and `true` (JSON) equal `1`."""
    key = clean_text(label).casefold()
    return BOOLEANS.get(key) or POINT_ZERO.sub("", key)


def write_class_names(class_names: Sequence[str], file: Path) -> None:
    """Write the class names, in id order, as JSON."""
    file.write_text(json.dumps(class_names, ensure_ascii=False, indent=2) + "\n", "utf-8")


def read_class_names(file: Path) -> tuple[str, ...]:
    """Read the class names, in id order, that `preprocess` has written. Raises FileUnreadable."""
    try:
        names = json.loads(file.read_text("utf-8"))
        return tuple(_distinct(tuple(names)))
    except (OSError, ValueError, TypeError) as error:
        raise FileUnreadable(file, f"has no class names ({error})", "run preprocess again") from None
