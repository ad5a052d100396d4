"""The console: reports that are printed at once or later, and columns that know how wide Hangul is."""

import pytest

from stages.shared.report import console


def test_report_is_shown_unless_the_caller_shows_it_later(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    console.show("정확도 90 %\n")
    assert capsys.readouterr().out == "정확도 90 %\n"
    monkeypatch.setenv("REPORT", "later")
    console.show("정확도 90 %\n")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("short", "short"), ("좋아요 " * 20, "좋아요 좋아요 좋아요 좋…"), ("a" * 30, "a" * 23 + "…")],
    ids=["short", "Hangul", "letters"],
)
def test_long_text_is_shortened_to_its_columns(text: str, expected: str) -> None:
    shown = console.shorten(text, 24)
    assert shown == expected
    assert console.width(shown) <= 24
