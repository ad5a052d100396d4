"""The phrases of the reports, in English and Korean. A language comes in, phrases with placeholders go out.

words.en.yaml and words.ko.yaml hold the phrases of each report by key.
"""

from functools import cache
from pathlib import Path
from typing import Literal

from ruamel.yaml import YAML

Language = Literal["en", "ko"]


@cache
def read_words(language: Language, report: str) -> dict[str, str]:
    """Return the phrases of a report by key."""
    file = Path(__file__).with_name(f"words.{language}.yaml")
    phrases: dict[str, str] = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))[report]
    return phrases
