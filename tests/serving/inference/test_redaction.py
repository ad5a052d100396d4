"""Tests that personal data goes, other words stay, and no text takes long."""

from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.inference.redaction import Kind, redact

KINDS = get_args(Kind)

CASES = {
    "mail me at first.last+tag@mail.example.co.kr today": "mail me at [EMAIL] today",
    "메일은 hong@example.com으로 주세요": "메일은 [EMAIL]으로 주세요",
    "see https://example.com/a?b=c&d=e#f now": "see [URL] now",
    "주소는 http://example.com/경로 입니다": "주소는 [URL]경로 입니다",
    "WWW.EXAMPLE.COM is down": "[URL] is down",
    "call 010-1234-5678 or 01012345678": "call [PHONE] or [PHONE]",
    "전화 010-1234-5678로, 회사는 02-123-4567": "전화 [PHONE]로, 회사는 [PHONE]",
    "대표번호 1588-1234": "대표번호 [PHONE]",
    "+82 10-1234-5678 and +44 20 7946 0958": "[PHONE] and [PHONE]",
    "(555) 010-9999, 555-010-9999": "[PHONE], [PHONE]",
    "thanks @some_user. and @홍길동": "thanks [NAME]. and [NAME]",
    "https://example.com/@user/me@example.com": "[URL]",
    "(https://example.com/x), ftp://example.com/y. bit.ly/3xYz와 youtu.be/abc?t=1": "([URL]), [URL]. [URL]와 [URL]",
    "(02) 123-4567, 02)123-4567, tel.010-1234-5678": "[PHONE], [PHONE], tel.[PHONE]",
    "010–1234–5678 / 010 - 1234 - 5678 / 1577 1234": "[PHONE] / [PHONE] / [PHONE]",
    "@123user @hong-gildong @홍_길동 @홍길동123": "[NAME] [NAME] [NAME] [NAME]",
}


@pytest.mark.parametrize(("text", "expected"), CASES.items(), ids=range(len(CASES)))
def test_personal_data_is_replaced_by_its_token(text, expected):
    assert redact(text, KINDS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "10/10, seen in 1999 2000 2001 and 2019-2020",
        "1999-2005, 1950-1953 전쟁, 1592-1598, 1588-1592, 1600-1700년대",
        "+1 2 3, +0.5 0.5, +10 10/10, +3 10 20 30점, 007 2020 1999",
        "and/or, he/she, 1/2, km/h, a.b/c is no link, nor is or.he/she; 3 @5 dollars",
        "it cost 1,234,567 won, or 12.50",
        "1.5 GB of 2026-11-26 12:30:45",
        "a @ b, 3 @ 5, me@ home, @",
        "email and http are words; e.g. this.that",
        "0.123456789 is no number to call",
        "ISBN 978-3-16-148410-0",
        "좋아요ㅋㅋㅋ 10점 만점에 10점!!",
    ],
)
def test_other_numbers_and_signs_stay(text):
    assert redact(text, KINDS) == text


def test_only_the_given_kinds_are_replaced():
    text = "me@example.com 010-1234-5678"
    assert redact(text, ["phone"]) == "me@example.com [PHONE]"
    assert redact(text, []) == text


@given(st.text(alphabet="a@.0-15+( )/:htpsw_가[]", max_size=60))
@example("@a@a@0 555-010-9999(555) 010-9999")
@settings(max_examples=3000)
def test_redacting_again_changes_nothing(text):
    once = redact(text, KINDS)
    assert redact(once, KINDS) == once


@pytest.mark.parametrize("repeated", ["a", "1", "@", "1-", "+1", "a.", "a@", "www.", "0 ", "(1"])
def test_a_megabyte_of_one_pattern_is_redacted(repeated):
    assert redact(repeated * 1_000_000, KINDS)
