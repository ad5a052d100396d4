"""Defects of exports are counted by text, and written-out escapes become the characters that they stand for."""

import pytest

from stages.shared.dataset.defects import Defects, resolve_escapes


def test_each_text_counts_once_for_each_defect() -> None:
    defects = Defects()
    for text in ("lovely\x97breakfast\x97", "caf\u00e9", r"a\nb\nc", "both \x93" + r" \u2019", r"C:\Users", "plain"):
        defects = defects.and_those_of(text)
    assert defects == Defects(misread=2, escapes=2)


@pytest.mark.parametrize(
    ("written", "means"),
    [
        (r"it\u2019s", "it\u2019s"),
        (r"\ud83d\ude00 fun", "\N{GRINNING FACE} fun"),
        (r"caf\xe9", "café"),
        (r"it\xe2\x80\x99s \x97", "it\u2019s \u2014"),
        (r"one\r\ntwo\tthree", "one\n\ntwo\tthree"),
        (r"a \"quote\" and \'one\'", "a \"quote\" and 'one'"),
        (r"and\/or", "and/or"),
        (r"C:\\new", r"C:\new"),
        (r"C:\Users", r"C:\Users"),
        (r"half \ud83d", "half \ufffd"),
        ("plain", "plain"),
    ],
)
def test_escapes_become_their_characters(written: str, means: str) -> None:
    assert resolve_escapes(written) == means
