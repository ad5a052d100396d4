"""Defects that an export leaves in texts: misread characters and written-out escapes. Raw texts come in, counts go out."""

import re
from typing import NamedTuple

from serving.inference.text import MISREAD_SIGN

ESCAPE = re.compile(r"""(?P<codes>(?:\\u[0-9a-fA-F]{4})+)|(?P<bytes>(?:\\x[0-9a-fA-F]{2})+)|\\(?P<sign>[nrt"'/\\])""")
MEANS = {"n": "\n", "r": "\n", "t": "\t"}


class Defects(NamedTuple):
    """How many texts have a defect.

    misread: with characters of Windows-1252 that were decoded as Latin-1, which cleaning repairs.
    escapes: with escapes that are written out, such as a backslash and an n.
    """

    misread: int = 0
    escapes: int = 0

    def and_those_of(self, text: str) -> "Defects":
        """Return the counts with those of one text more."""
        return Defects(self.misread + bool(MISREAD_SIGN.search(text)), self.escapes + ("\\" in text and bool(ESCAPE.search(text))))


def resolve_escapes(text: str) -> str:
    """Return the text with each written-out escape as the character that it stands for. A Windows path loses its backslashes."""
    return ESCAPE.sub(_meaning, text) if "\\" in text else text


def _meaning(escape: re.Match[str]) -> str:
    if codes := escape["codes"]:
        units = bytes.fromhex(codes.replace("\\u", ""))
        return units.decode("utf-16-be", "replace")
    if written := escape["bytes"]:
        content = bytes.fromhex(written.replace("\\x", ""))
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content.decode("cp1252", "replace")
    return MEANS.get(escape["sign"], escape["sign"])
