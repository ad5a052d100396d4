"""Tests of what cleaning does to a text, and that cleaning again changes nothing."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.inference import text as text_module
from serving.inference.text import clean_text

CASES = {
    "plain text stays": ("a lovely film", "a lovely film"),
    "case, digits and marks stay": ("Great!!! 10/10 :-)", "Great!!! 10/10 :-)"),
    "emoji stay": ("love it 😍👍", "love it 😍👍"),
    "letter and accent become one": ("cafe\u0301", "caf\u00e9"),
    "decomposed Hangul becomes syllables": (unicodedata.normalize("NFD", "정말 좋아요"), "정말 좋아요"),
    "zero-width marks go": ("go\u200bod\u200c \ufefffi\u2060lm\u00ad", "good film"),
    "direction marks go": ("\u202ebad\u202c\u200f", "bad"),
    "control characters go": ("go\x00od\x08 fi\x7flm\x81", "good film"),
    "Windows-1252 read as Latin-1": (
        "lovely\x97breakfast, \x80 5 \x96 it\x92s \x93good\x94\x85",
        "lovely\u2014breakfast, € 5 \u2013 it\u2019s \u201cgood\u201d\u2026",
    ),
    "ellipsis of Windows-1252 after a letter": ("well\x85 good\x85film", "well\u2026 good\u2026film"),
    "ellipsis beside other signs of Windows-1252": ("it\x92s \x85 good", "it\u2019s \u2026 good"),
    "next line between spaces and line ends": ("\x85good \x85 film\n\x85", "good film"),
    "no-break space is a blank": ("good\u00a0film", "good film"),
    "line ends and tabs are one blank": ("good\r\n\t \u2028film", "good film"),
    "ideographic space is a blank": ("정말\u3000좋아요", "정말 좋아요"),
    "ends are stripped": ("\u3000 \u00a0 good film\n", "good film"),
    "line break tags are blanks": ("good<br />film<br>and<BR/>food", "good film and food"),
    "other tags stay": ("a <b>good</b> film", "a <b>good</b> film"),
    "lone signs stay": ("5 < 6 & 7 > 2", "5 < 6 & 7 > 2"),
    "entity": ("food &amp; staff &#39;good&#39; &#x1F600;", "food & staff 'good' 😀"),
    "entity escaped twice": ("food &amp;amp; staff", "food & staff"),
    "tag escaped once": ("good&lt;br /&gt;film", "good film"),
    "tag escaped twice": ("good&amp;lt;br /&amp;gt;film", "good film"),
    "no-break space as an entity": ("good&nbsp;&#160;film", "good film"),
    "zero-width mark as an entity": ("go&#8203;od", "good"),
    "accent as an entity": ("cafe&#769;", "caf\u00e9"),
    "unterminated entity stays": ("AT&amp T", "AT&amp T"),
    "unknown entity stays": ("&nosuchthing;", "&nosuchthing;"),
    "entity with a zero-width mark inside": ("&am\u200bp;", "&"),
    "query of a link stays": ("http://a.b/?x=1&copy=2&lt=3", "http://a.b/?x=1&copy=2&lt=3"),
    "nested entities": ("&#&#53;&#52;; fine", "6 fine"),
    "nested tags": ("good<br<br/>>film", "good film"),
    "empty": ("", ""),
    "invisible characters only": (" \u200b<br />&nbsp;\ufeff\x00", ""),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_text_is_cleaned(text: str, expected: str) -> None:
    assert clean_text(text) == expected


FRAGMENTS = st.sampled_from(
    [
        "&",
        "amp;",
        "lt;",
        "gt;",
        "#38;",
        "#x26;",
        "nbsp;",
        "#8203;",
        "#55296;",
        "<br",
        "/>",
        "<",
        ">",
        " ",
        "\u200b",
        "\u0301",
        "\u1100",
        "\u1161",
    ]
)


def test_deeply_nested_markup_takes_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []

    def counted(text: str, clean_once: Callable[[str], str] = text_module.clean_once) -> str:
        passes.append(text)
        return clean_once(text)

    monkeypatch.setattr(text_module, "clean_once", counted)
    following = {"6": ("&#5", "4"), "4": ("&#5", "2"), "2": ("&#5", "0"), "0": ("&#4", "8"), "8": ("&#5", "6")}
    entities, digit = [], "6"
    for _ in range(4000):
        start, digit = following[digit]
        entities.append(start)
    for nested in ("".join(entities) + digit + ";" * 4000, "<br" * 4000 + ">" * 4000):
        passes.clear()
        cleaned = clean_text(f"good {nested} film")
        assert len(passes) < 20
        assert cleaned.startswith("good ")
        assert cleaned.endswith(" film")
        assert clean_text(cleaned) == cleaned


@given(st.text() | st.lists(FRAGMENTS | st.characters(), max_size=30).map("".join))
@example("&&am\u200bp;amp;lt;br&#32;/&gt;")
@example("\u1100\u200b\u1161\u11a8")
def test_cleaning_a_clean_text_changes_nothing(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned


@given(st.text())
def test_clean_text_is_composed_and_has_single_blanks_only(text: str) -> None:
    cleaned = clean_text(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == " ".join(cleaned.split())


def test_ampersand_escaped_a_hundred_thousand_times_is_resolved() -> None:
    assert clean_text("&" + "amp;" * 100_000 + "lt;br>") == ""
    assert clean_text("&" + "#38;" * 100_000) == "&"


def test_letter_under_a_hundred_thousand_marks_keeps_thirty() -> None:
    cleaned = clean_text("x" + "\u0301\u0316" * 50_000 + "y good film")
    assert cleaned == "x" + "\u0316" * 15 + "\u0301" * 15 + "y good film"


MARKED = "a\u1e69\u1e61\u1100\u1161\uac00 \u0301\u0316\u0323\u0307\u0344\u05b0\u0f73"


@given(st.lists(st.sampled_from(MARKED), max_size=200).map("".join))
def test_cleaning_many_marks_again_changes_nothing(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)


def test_text_escaped_many_times_is_resolved() -> None:
    assert clean_text("&" + "amp;" * 200 + "lt;br /&" + "amp;" * 200 + "gt;x") == "x"
