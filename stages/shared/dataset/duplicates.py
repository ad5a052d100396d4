"""When two texts are the same: four keys, from the strictest to the loosest. A text whose key is empty is like no other."""

import hashlib
import unicodedata
from collections.abc import Callable

LONGEST = 2_000  # characters of a key, and of a text that near duplicates are looked for in


def exact(text: str) -> str:
    """The text as it is."""
    return text


def ws(text: str) -> str:
    """Every run of whitespace one blank, ends stripped."""
    return " ".join(text.split())


def nfkc(text: str) -> str:
    """Unicode NFKC, case folded, then ws: what is the same to a reader."""
    return ws(unicodedata.normalize("NFKC", text).casefold())


def alnum(text: str) -> str:
    """nfkc without all but letters and digits; in phrases it takes those with and without a full stop for one."""
    return "".join(filter(str.isalnum, nfkc(text)))


def short(key: str) -> str:
    """Return a key of a bounded length: of a long one, which is compared and sorted with every other, its beginning and a hash."""
    if len(key) <= LONGEST:
        return key
    return key[:LONGEST] + hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


KEYS: dict[str, Callable[[str], str]] = {"exact": exact, "ws": ws, "nfkc": nfkc, "alnum": alnum}
