"""Params: one section of params.yaml comes in, a frozen and range-checked model goes out.

The YAML 1.2 parser is the one that DVC uses. So `3e-05` is a number and `no` is a word here too.
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
    """A stage does not accept a value in params.yaml."""

    def __init__(self, file: Path, problems: Iterable[str]) -> None:
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))


class Section(BaseModel):
    """The base of every params section. It refuses unknown keys, and its values never change.

    The docstring of a field is its text in docs/reference/params.md.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("no param takes true or false: see docs/reference/params.md")
        return value


SectionT = TypeVar("SectionT", bound=Section)


def load(params_file: Path, section: str, model: type[SectionT]) -> SectionT:
    """Return a section of params.yaml as `model`. Raises ParamsInvalid, which names key, value and expectation."""
    try:
        content = YAML(typ="safe", pure=True).load(params_file.read_text("utf-8"))
    except FileNotFoundError:
        raise ParamsInvalid(params_file, ["does not exist: run from the root of the project"]) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsInvalid(params_file, [f"is not valid YAML ({' '.join(str(error).split())}): correct that line"]) from None
    values = content.get(section) if isinstance(content, dict) else None
    if not isinstance(values, dict):
        raise ParamsInvalid(params_file, [f"has no section '{section}': restore it from git"])
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems: dict[str, list[str]] = {}
        for detail in error.errors():
            fact, expectation = _problem(section, model, dict(detail))
            problems.setdefault(fact, []).append(expectation)  # several, if a param may have one of several types
        raise ParamsInvalid(params_file, [f"{fact}: {' or '.join(expected)}" for fact, expected in problems.items()]) from None


def _problem(section: str, model: type[Section], detail: dict[str, Any]) -> tuple[str, str]:
    """Return what is wrong, and what was expected instead."""
    key = ".".join([section, *(str(part) for part in detail["loc"] if str(part) in model.model_fields or part == detail["loc"][0])])
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(detail["loc"][0]), model.model_fields, n=1)
        return f"{key} is not a param", f"did you mean '{close[0]}'?" if close else f"the params are {', '.join(model.model_fields)}"
    if detail["type"] == "missing":
        return f"{key} is missing", "restore it from git"
    expectation = str(detail["msg"]).removeprefix("Value error, ")
    if not detail["loc"]:
        return section, expectation
    return f"{key} is {detail['input']!r}", f"{expectation[:1].lower()}{expectation[1:]}"
