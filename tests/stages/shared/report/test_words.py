"""The words of reports: both languages have the same keys and placeholders."""

import re
import string

import pytest
from ruamel.yaml import YAML

from stages.shared.report.words import read_words
from tests.running import ROOT

ENGLISH, KOREAN = (
    YAML(typ="safe", pure=True).load((ROOT / f"stages/shared/report/words.{language}.yaml").read_text("utf-8")) for language in ("en", "ko")
)
PHRASES = [(report, key) for report, phrases in ENGLISH.items() for key in phrases]


def placeholders(phrase: str) -> list[tuple[str | None, str | None]]:
    """Return name and format of each placeholder, sorted."""
    return sorted((name, form) for _, name, form, _ in string.Formatter().parse(phrase) if name is not None)


def test_both_languages_have_the_same_keys() -> None:
    assert [(report, key) for report, phrases in KOREAN.items() for key in phrases] == PHRASES


@pytest.mark.parametrize(("report", "key"), PHRASES)
def test_phrase_has_the_same_placeholders_in_both_languages(report: str, key: str) -> None:
    assert isinstance(ENGLISH[report][key], str)
    assert isinstance(KOREAN[report][key], str)
    assert placeholders(ENGLISH[report][key]) == placeholders(KOREAN[report][key])


@pytest.mark.parametrize(("report", "key"), PHRASES)
def test_english_phrase_has_no_hangul_and_is_read(report: str, key: str) -> None:
    assert not re.search("[가-힣]", ENGLISH[report][key])
    readers = ("shared/evaluation/text_report.py", "shared/report/plots.py", "emotion_distribution.py")
    code = [(ROOT / "stages" / name).read_text("utf-8") for name in readers]
    assert any(f'"{key}"' in module for module in code)


def test_words_of_a_report_come_in_the_language() -> None:
    assert read_words("en", "evaluation")["accuracy"] == "Accuracy"
    assert read_words("ko", "evaluation")["accuracy"] == "정확도"
