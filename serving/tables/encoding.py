"""The encoding of a text file: UTF-8, UTF-16, cp949 (Korean Windows) or cp1252 (Western Windows).

In: the bytes of a file. Out: its text and the name of its encoding, which the stages report.
"""

import codecs
import io
from pathlib import Path
from typing import NamedTuple

from serving.tables.errors import FileUnreadable

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Each SHARE is a share of the characters beyond ASCII.
KSX1001_SHARE = 0.5  # Korean text is far above it, Western bytes read as cp949 are far below
HANGUL_SHARE = 0.5  # Japanese bytes read as cp949 give single letters instead of syllables
HANJA_SHARE = 0.2  # Chinese bytes read as cp949 give far more hanja than Korean text has
UTF8_SHARE = 0.9  # above it, bytes that are not UTF-8 are damage in a UTF-8 file
WESTERN_SHARE = 0.8  # bytes of another encoding give more such characters than any text has
BROKEN_KSX1001_SHARE = 0.9  # above it, bytes that are not cp949 are damage in a Korean file
BEYOND_RATIO = 0.5  # letters beyond ASCII per ASCII letter: Cyrillic, Greek and Hebrew bytes read as cp1252 are far above it
FEW = 10  # letters beyond ASCII: BEYOND_RATIO needs more to decide
WESTERN_SIGNS = "‘’“”–—…•·€£¥§°©®™«»¿¡´×½¼¾²³±\u00a0"  # in addition to the letters
SAMPLE_BYTES = 2**20


class DecodedText(NamedTuple):
    text: str
    encoding: str


def read_text(file: Path) -> DecodedText:
    """Return the text of a file and its encoding; raise FileUnreadable if it is missing, empty or not a text."""
    data = _read_bytes(file)
    encoding = _encoding(data)
    if encoding is None:
        raise FileUnreadable(
            file,
            f"is neither UTF-8, UTF-16, cp949 nor cp1252 text ({_first_invalid_byte(data)})",
            "save it as UTF-8, or repair that line",
        )
    return DecodedText(decoded(file, data, encoding), encoding)


def decoded(file: Path, data: bytes, encoding: str) -> str:
    """Return the text of bytes; raise FileUnreadable if they do not decode, hold a NUL or are blank.

    file: for the error message.
    """
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileUnreadable(
            file, f"is not {encoding} throughout (byte 0x{data[error.start]:02x} in line {line:,})", "repair that line"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise FileUnreadable(file, f"has a NUL byte in line {line:,}", "export it again as text, for it is damaged or not a text file")
    if not text.strip():
        raise FileUnreadable(file, "is empty", "give a file with labelled texts")
    return text


def encoding_of(file: Path, stream: io.RawIOBase) -> str:
    """Return the encoding of a stream of any length, by its first mebibyte with a character beyond ASCII.

    file: for the error message. Raises FileUnreadable if that mebibyte is not text. Later bytes may still not decode.
    """
    buffered = io.BufferedReader(stream)
    sample = buffered.read(SAMPLE_BYTES)
    marked = sample.startswith(tuple(BYTE_ORDER_MARKS)) or b"\0" in sample[:2000]
    while sample.isascii() and not marked and (more := buffered.read(SAMPLE_BYTES)):
        sample = sample[sample.rfind(b"\n") + 1 :][-SAMPLE_BYTES:] + more
    encoding = _encoding(sample, complete=not buffered.read(1))
    if encoding is None:
        raise FileUnreadable(
            file,
            f"is neither UTF-8, UTF-16, cp949 nor cp1252 text ({_first_invalid_byte(sample)})",
            "name its encoding in {encoding}",
        )
    return encoding


def encoding_of_start(start: bytes, *, is_all: bool, decide: bool) -> str | None:
    """Return the encoding of a stream, by its first bytes beyond ASCII, or None if more bytes must show it.

    is_all: whether the stream ends with these bytes. decide: whether to take the likeliest encoding at once.
    Bytes of no known encoding count as UTF-8, so a decoder finds the first wrong one.
    """
    text = _text(start, "utf-8", complete=False)
    if (decide and text != "") or is_all or len(start) >= SAMPLE_BYTES:
        return _encoding(start if is_all else start[: len(start) // 2 * 2], complete=is_all) or "utf-8"
    if start.startswith(tuple(BYTE_ORDER_MARKS)[1:]) or b"\0" in start:
        return None
    korean = _text(start, "cp949", complete=False)
    if not text or text.isascii() or (korean is not None and _is_korean(korean)):
        return None
    return "utf-8-sig" if start.startswith(codecs.BOM_UTF8) else "utf-8"


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileUnreadable(file, "does not exist", "check its path") from None
    except PermissionError:
        raise FileUnreadable(file, "cannot be read (permission denied)", "change its permissions") from None
    except IsADirectoryError:
        raise FileUnreadable(file, "is a directory", "name one file in it") from None


def _encoding(data: bytes, complete: bool = True) -> str | None:
    """Return the encoding of bytes. complete: False if the bytes are a sample, which may end within a character."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding if _text(data, encoding, complete) is not None else None
    if utf16 := _utf16_without_mark(data, complete):
        return utf16
    if _text(data, "utf-8", complete) is not None:
        return "utf-8"
    if _is_damaged_utf8(data):
        return None
    korean = _text(data, "cp949", complete)
    if korean is not None and _is_korean(korean):
        return "cp949"
    if _ksx1001_share(data.decode("cp949", "replace")) >= BROKEN_KSX1001_SHARE:
        return None  # damaged cp949, Chinese or Japanese
    western = _text(data, "cp1252", complete)
    return "cp1252" if western is not None and _is_western(western) else None


def _text(data: bytes, encoding: str, complete: bool) -> str | None:
    """Return the text of bytes, or None if they have another encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data, final=complete)
    except UnicodeDecodeError:
        return None


def _utf16_without_mark(data: bytes, complete: bool) -> str | None:
    """Recognize UTF-16 by its NUL bytes, which are all before or all after the ASCII characters."""
    if b"\0" not in data[:2000] or len(data) % 2:
        return None
    for encoding in ("utf-16-le", "utf-16-be"):
        text = _text(data, encoding, complete)
        if text is not None and "\0" not in text and text.count("\n") > data.count(b"\n") / 2:
            return encoding
    return None


def _beyond_ascii(text: str) -> list[str]:
    return [character for character in text[:200_000] if character > "\x7f"]


def _is_damaged_utf8(data: bytes) -> bool:
    """Tell a UTF-8 file with a few wrong bytes from one in another encoding."""
    beyond_ascii = _beyond_ascii(data[:800_000].decode("utf-8", "replace"))
    return sum(character != "\ufffd" for character in beyond_ascii) > UTF8_SHARE * len(beyond_ascii)


def _ksx1001_share(text: str) -> float:
    """Return the share of KS X 1001 characters among those beyond ASCII. Real Korean text hardly uses others."""
    beyond_ascii = _beyond_ascii(text)
    return sum(len(character.encode("euc_kr", "ignore")) == 2 for character in beyond_ascii) / max(1, len(beyond_ascii))


def _is_korean(text: str) -> bool:
    """Tell Korean from Western, Chinese or Japanese bytes that happen to decode as cp949."""
    beyond_ascii = _beyond_ascii(text)
    hangul = sum("가" <= character <= "힣" for character in beyond_ascii)
    hanja = sum("\u4e00" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff" for character in beyond_ascii)
    return _ksx1001_share(text) >= KSX1001_SHARE and hangul >= HANGUL_SHARE * len(beyond_ascii) and hanja <= HANJA_SHARE * len(beyond_ascii)


def _is_western(text: str) -> bool:
    """Tell Western text from bytes of another encoding, which decode as cp1252 too."""
    beyond_ascii = _beyond_ascii(text)
    letters = sum(map(str.isalpha, beyond_ascii))
    known = letters + sum(character in WESTERN_SIGNS for character in beyond_ascii)
    ascii_letters = sum(character.isalpha() for character in text[:200_000] if character <= "\x7f")
    return known >= WESTERN_SHARE * len(beyond_ascii) and letters <= max(FEW, BEYOND_RATIO * ascii_letters)


def _first_invalid_byte(data: bytes) -> str:
    korean = not _is_damaged_utf8(data) and _ksx1001_share(data.decode("cp949", "replace")) >= BROKEN_KSX1001_SHARE
    try:
        data.decode("cp949" if korean else "utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return f"byte 0x{data[error.start]:02x} in line {line:,}"
    return "a damaged byte order mark, or another encoding of East Asia"
