"""Redaction: a text comes in, and goes out with a placeholder such as `[EMAIL]` in place of personal data.

`preprocess` redacts the splits, and the classifier redacts every text with the kinds that the bundle lists.
The letters of an address, a number or a name are ASCII, so a Korean particle after one stays: `a@b.kr로` becomes `[EMAIL]로`.
Every pattern is bounded, so no text takes more than linear time. No pattern matches directly after a placeholder.
"""

import re
from collections.abc import Sequence
from typing import Literal

URL = re.compile(
    r"""(?<![A-Za-z0-9@\]])(?:
        (?:https?://|ftp://|www\.)[!-~]{0,2000}                # has a scheme or www
      | (?:[A-Za-z0-9-]{1,63}\.){1,4}(?:com|net|org|info|xyz|app|dev|kr|io|me|be|ly|gl|gg|tv|ai|co|to|cc|us|uk|jp|de|fr)
        /[!-~]{0,2000}                                       # has neither, but a path: bit.ly/x
    )(?<![.,;:!?)\]}'">])""",
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
EMAIL = re.compile(r"(?<![A-Za-z0-9._%+\]-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}")
GAP = "[ ]?[.\u2013-]?[ ]?"
PHONE = re.compile(
    rf"""(?<![\w,+\]-])(?<!\d\.)(?:
        \+(?=(?:[ .()-]{{0,2}}\d){{8,15}}(?!\d))\d{{1,3}}(?:[ .-]?\(?\d{{1,4}}\)?){{2,5}}  # +82 10-1234-5678, +44 (0)20 7946 0958
      | \(?0(?:2|[3-6][1-5]|70|80|1[016-9]|50\d)\)?{GAP}\d{{3,4}}{GAP}\d{{4}}           # 010-1234-5678, 02)123-4567
      | (?:\(\d{{3}}\)[ ]?|\d{{3}}[.-])\d{{3}}[.-]\d{{4}}                              # (555) 010-9999, 555-010-9999
      | 1(?:5(?:22|33|44|66|70|77|88|99)|6(?:00|44|61|66|70|88|99)|8(?:00|11|33|55|66|77|99))[ -](?!1[4-9]\d\d|20\d\d)\d{{4}}  # 1588-1234
    )(?![\d-])""",
    re.VERBOSE | re.ASCII,
)
NAME = re.compile(
    r"@(?:(?=[0-9_.-]{0,20}[A-Za-z_])[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,28}[A-Za-z0-9_])?|[가-힣](?:[가-힣_]{0,9}[가-힣])\d{0,4})"
)

Kind = Literal["url", "email", "phone", "name"]
# The order of the search: an email address in a link belongs to the link.
PATTERNS: dict[Kind, tuple[re.Pattern[str], str]] = {
    "url": (URL, "[URL]"),
    "email": (EMAIL, "[EMAIL]"),
    "phone": (PHONE, "[PHONE]"),
    "name": (NAME, "[NAME]"),
}


def redact(text: str, kinds: Sequence[Kind]) -> str:
    """Replace personal data of these kinds by placeholders. Redacting again changes nothing."""
    for kind, (pattern, token) in PATTERNS.items():
        if kind in kinds:
            text = pattern.sub(token, text)
    return text
