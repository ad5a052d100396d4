"""Read one section of params.yaml into a frozen, range-checked model.

The file is read by the YAML 1.2 parser that DVC itself uses, so that `3e-05` is a number and `no` a word here too.
Reads params.yaml; writes nothing.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.shared.errors import StageError


class ParamsInvalid(StageError):
    """A value in params.yaml that the stage does not accept."""

    def __init__(self, file: Path, problems: Iterable[str]) -> None:
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))


class Section(BaseModel):
    """Base of every params section: unknown keys are refused and values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("true and false are no values here")
        return value


SectionT = TypeVar("SectionT", bound=Section)


def load(params_file: Path, section: str, model: type[SectionT]) -> SectionT:
    """Return the section of params.yaml as `model`; raise ParamsInvalid naming key, value and expectation."""
    try:
        content = YAML(typ="safe", pure=True).load(params_file.read_text("utf-8"))
    except FileNotFoundError:
        raise ParamsInvalid(params_file, ["does not exist: run from the root of the project"]) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsInvalid(params_file, [f"is not YAML: {' '.join(str(error).split())}"]) from None
    values = content.get(section) if isinstance(content, dict) else None
    if not isinstance(values, dict):
        raise ParamsInvalid(params_file, [f"has no section '{section}': restore it from git"])
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems: dict[str, list[str]] = {}
        for detail in error.errors():
            fact, expectation = _problem(section, model, dict(detail))
            problems.setdefault(fact, []).append(expectation)  # a value may be of one of several forms
        raise ParamsInvalid(params_file, [f"{fact}: {' or '.join(expected)}" for fact, expected in problems.items()]) from None


def _problem(section: str, model: type[Section], detail: dict[str, Any]) -> tuple[str, str]:
    """Tell what is wrong and what was expected instead."""
    key = ".".join([section, *(str(part) for part in detail["loc"] if str(part) in model.model_fields or part == detail["loc"][0])])
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(detail["loc"][0]), model.model_fields, n=1)
        return f"{key} is no known param", f"did you mean '{close[0]}'?" if close else f"known are {', '.join(model.model_fields)}"
    if detail["type"] == "missing":
        return f"{key} is missing", "restore it from git"
    expectation = str(detail["msg"]).removeprefix("Value error, ")
    if not detail["loc"]:
        return section, expectation
    return f"{key} is {detail['input']!r}", f"{expectation[:1].lower()}{expectation[1:]}"
