"""Text on a console: columns that know how wide Hangul is, and reports that are printed at once or later."""

import os
import sys
import unicodedata
from typing import Literal

Language = Literal["en", "ko"]
WIDTH = 100  # columns of a report


def show(text: str) -> None:
    """Print a report, unless REPORT=later says that the caller prints the saved ones at its end (`make run` does)."""
    if os.environ.get("REPORT") != "later":
        encoding = sys.stdout.encoding or "utf-8"  # a console that cannot print Hangul still gets its report
        print(text.encode(encoding, "replace").decode(encoding), end="")


def wrap(text: str) -> str:
    """Break at blanks so that no line is wider than WIDTH columns."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and width(f"{lines[-1]} {word}") > WIDTH:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return "\n".join(lines)


def width(text: str) -> int:
    """Return the columns that a text takes on a console, where Hangul takes two."""
    return sum(0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Fill a text up with blanks to so many columns, on its right or its left."""
    blanks = " " * max(0, columns - width(text))
    return blanks + text if right else text + blanks


def shorten(text: str, columns: int) -> str:
    """Cut a text to so many columns, at least 24."""
    columns = max(24, columns)
    if width(text) <= columns:
        return text
    kept = ""
    for sign in text:
        if width(kept + sign) > columns - 1:
            break
        kept += sign
    return kept.rstrip() + "…"
