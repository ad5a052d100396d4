"""Cleaning of texts: a raw value comes in, the clean text or a refusal goes out. Training and serving use the same function."""

import html
import re
import unicodedata
from itertools import groupby, islice

from serving.inference.errors import TextRefused

# Zero-width and direction marks: soft hyphen, Mongolian vowel separator, ZWSP to RLM, embeddings, word joiner and others, BOM.
INVISIBLE = {
    ord(mark): None
    for mark in "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff"
}
# Control characters that separate words are not in here: str.split below turns them into a space.
CONTROL = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if not chr(code).isspace()}
# Bytes of Windows-1252 that were decoded as Latin-1. As control characters texts hardly ever have them.
MISREAD = {code: bytes([code]).decode("cp1252") for code in range(0x80, 0xA0) if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}
# What shows that a text was misread. U+0085 is a line end too: alone, after a space or at the start, it shows nothing.
MISREAD_SIGN = re.compile(rf"[{''.join(chr(code) for code in MISREAD if code != 0x85)}]|(?<=\S)\x85")
REPLACED = INVISIBLE | CONTROL | MISREAD
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
ESCAPED_AMPERSAND = re.compile(r"&(?:amp;|#0*38;|#x0*26;)+", re.IGNORECASE)  # an ampersand escaped any number of times
LINE_BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)
MARKUP = {ord("&"): " ", ord("<"): " "}
MAX_MARKS = 30  # combining marks of one letter, as in Unicode's stream-safe format: NFC takes quadratic time in their number
MAX_LAYERS = 10  # of nested entities and tags that are resolved one after another; no real text has as many


def require_characters(text: str) -> str:
    """Return the text. Raise TextRefused for a NUL or a lone surrogate, which no tokenizer accepts."""
    if "\0" in text:
        raise TextRefused("text contains a NUL character: remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TextRefused("text contains a lone surrogate, which is not a character: remove it") from None
    return text


def why_unreadable(text: object) -> str | None:
    """Return an error message that says why a value cannot be classified, or None if it can. It never quotes the value."""
    if not isinstance(text, str):
        return "text is not a string: send it in quotes"
    try:
        require_characters(text)
    except TextRefused as error:
        return str(error)
    return None if clean_text(text) else "text is empty: send some words"


def clean_text(text: str) -> str:
    """Return the text in the form that models read. Cleaning a clean text changes nothing.

    - Unicode becomes NFC, with at most 30 combining marks per letter.
    - HTML entities and `<br />` are resolved, also when escaped twice.
    - Characters of Windows-1252 that were decoded as Latin-1 become what they stand for: U+0097 becomes a dash.
      U+0085 is a line end, unless it follows a character or the text has other such characters: then it is an ellipsis.
    - Other control characters, and zero-width characters, are removed.
    - Each run of whitespace becomes one space, also no-break spaces and line ends. Spaces at the ends are removed.
    - With markup nested deeper than ten layers, each remaining & and < becomes a space. So no text takes more than a few passes.
    """
    cleaned = clean_once(text)
    for _ in range(MAX_LAYERS):
        if not ("&" in cleaned or "<" in cleaned) or (again := clean_once(cleaned)) == cleaned:
            return cleaned
        cleaned = again
    return clean_once(cleaned.translate(MARKUP))


def clean_once(text: str) -> str:
    """Clean a text in one pass, which resolves one layer of markup."""
    if "&" in text:
        text = ENTITY.sub(lambda entity: html.unescape(entity.group()), ESCAPED_AMPERSAND.sub("&", text))
    if "<" in text:
        text = LINE_BREAK_TAG.sub(" ", text)
    if "\x85" in text and not MISREAD_SIGN.search(text):
        text = text.replace("\x85", " ")
    text = _with_few_marks(" ".join(text.translate(REPLACED).split()))
    return _with_few_marks(unicodedata.normalize("NFC", text))


def _with_few_marks(text: str) -> str:
    """Keep the first thirty combining marks of each letter."""
    if max(map(len, text.split()), default=0) <= MAX_MARKS:
        return text
    runs = groupby(text, key=lambda character: unicodedata.combining(character) > 0)
    return "".join("".join(islice(run, MAX_MARKS) if marks else run) for marks, run in runs)
