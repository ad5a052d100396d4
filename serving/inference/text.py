"""The one cleaning function of training and serving: what a model sees is what it was trained on."""

import html
import re
import unicodedata
from itertools import groupby, islice

from serving.inference.errors import TextRefused

# Zero-width and direction marks: soft hyphen, Mongolian vowel separator, ZWSP..RLM, embeddings, word joiner..., BOM.
INVISIBLE = {
    ord(mark): None
    for mark in "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff"
}
# Control characters that separate words become a blank below (str.split knows them); the others go.
CONTROL = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if not chr(code).isspace()}
UNSEEN = INVISIBLE | CONTROL
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
NESTED = re.compile(r"&(?:amp;|#0*38;|#x0*26;)+", re.IGNORECASE)  # an ampersand escaped any number of times
LINE_BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)
MARKUP = {ord("&"): " ", ord("<"): " "}
MAX_MARKS = 30  # on one letter, as in Unicode's stream-safe format: NFC takes quadratic time in their number
LAYERS = 10  # of entities and tags in one another that are resolved one by one; no honest text has as many


def require_characters(text: str) -> str:
    """Return the text; raise TextRefused for a NUL or a lone surrogate, which no tokenizer takes."""
    if "\0" in text:
        raise TextRefused("text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TextRefused("text holds a lone surrogate, which is no character") from None
    return text


def why_unreadable(text: object) -> str | None:
    """Say why something cannot be classified, in a sentence that does not hold it, or return None where it can."""
    if not isinstance(text, str):
        return "text is no string"
    try:
        require_characters(text)
    except TextRefused as error:
        return str(error)
    return None if clean_text(text) else "text is empty"


def clean_text(text: str) -> str:
    """Return the text as models see it; cleaning a clean text changes nothing.

    Unicode NFC, with the first 30 marks of a letter; HTML entities and `<br />` resolved, also when escaped twice; control and
    zero-width characters removed; every run of whitespace (no-break spaces and line ends too) one blank; ends stripped. In a text
    with markup nested deeper than ten layers each & and < that is left is a blank, so that no text takes more than a few passes.
    """
    cleaned = _clean_once(text)
    for _ in range(LAYERS):
        if not ("&" in cleaned or "<" in cleaned) or (again := _clean_once(cleaned)) == cleaned:
            return cleaned
        cleaned = again
    return _clean_once(cleaned.translate(MARKUP))


def _clean_once(text: str) -> str:
    if "&" in text:
        text = ENTITY.sub(lambda entity: html.unescape(entity.group()), NESTED.sub("&", text))
    if "<" in text:
        text = LINE_BREAK_TAG.sub(" ", text)
    text = _with_few_marks(" ".join(text.translate(UNSEEN).split()))
    return _with_few_marks(unicodedata.normalize("NFC", text))


def _with_few_marks(text: str) -> str:
    """Return the text without the combining marks of a letter behind its first thirty."""
    if max(map(len, text.split()), default=0) <= MAX_MARKS:
        return text
    runs = groupby(text, key=lambda character: unicodedata.combining(character) > 0)
    return "".join("".join(islice(run, MAX_MARKS) if marks else run) for marks, run in runs)
