"""Keys of texts: two texts are duplicates if their keys are equal.

In: a text. Out: one of four keys, from the strictest to the loosest. A text with an empty key has no duplicates.
"""

import hashlib
import unicodedata
from collections.abc import Callable

LONGEST = 2_000  # characters of a key, and of a text in the search for near duplicates


def exact(text: str) -> str:
    """Return the text itself."""
    return text


def ws(text: str) -> str:
    """Return the text with each run of whitespace as one space, and none at the ends."""
    return " ".join(text.split())


def nfkc(text: str) -> str:
    """Return the text in Unicode NFKC and case-folded, then by `ws`: equal keys look the same to a reader."""
    return ws(unicodedata.normalize("NFKC", text).casefold())


def alnum(text: str) -> str:
    """Return the letters and digits of `nfkc`. Phrases with and without a full stop get the same key."""
    return "".join(filter(str.isalnum, nfkc(text)))


def short(key: str) -> str:
    """Return a key of bounded length, because keys are compared and sorted. A long key is cut and ends with a hash of all of it."""
    if len(key) <= LONGEST:
        return key
    return key[:LONGEST] + hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


KEYS: dict[str, Callable[[str], str]] = {"exact": exact, "ws": ws, "nfkc": nfkc, "alnum": alnum}
