"""The console: reports that are printed now or later, as text that every terminal shows."""

import pytest
from rich.cells import cell_len

from stages.shared.report import console


@pytest.mark.parametrize("variable", ["SENTIMENT_REPORT", "REPORT"], ids=["the variable", "its old name"])
def test_report_is_printed_unless_the_caller_prints_it_later(
    variable: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console.show("정확도 90 %\n")
    assert capsys.readouterr().out == "정확도 90 %\n"
    monkeypatch.setenv(variable, "later")
    console.show("정확도 90 %\n")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("short", "short"), ("좋아요 " * 40, "좋아요 " * 13 + "좋아…"), ("a" * 120, "a" * 95 + "…")],
    ids=["short", "Hangul", "letters"],
)
def test_text_takes_the_rest_of_the_width_and_is_cut_there(text: str, expected: str) -> None:
    table = console.table(console.name(), console.text(), header=False)
    table.add_row("ab", text)
    (line,) = console.render([table]).splitlines()
    assert line == f"ab  {expected}"
    assert cell_len(line) <= console.WIDTH


def test_parts_have_an_empty_line_between_them_and_lines_have_no_blanks_at_their_ends() -> None:
    table = console.table(console.name("name"), console.number("count"))
    table.add_row("부정", "1,000")
    table.add_row("positive", "5")
    assert console.render(["first", table]) == "first\n\nname      count\n부정      1,000\npositive      5\n"


def test_long_sentence_continues_on_the_next_line() -> None:
    lines = console.render(["한국어 문장은 두 칸씩 씁니다. " * 10]).splitlines()
    assert len(lines) > 1
    assert all(cell_len(line) <= console.WIDTH for line in lines)


def test_line_below_a_title_is_as_wide_as_the_title() -> None:
    assert console.title("평가 A") == "평가 A\n======"
