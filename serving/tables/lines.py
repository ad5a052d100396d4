"""Lines of a file: chunks of bytes come in, lines of text go out.

Only the incomplete last line stays in memory, and the first bytes beyond ASCII until they show the encoding.
"""

import codecs
import io
from collections.abc import Iterator

from serving.tables.encoding import SAMPLE_BYTES, encoding_of_start
from serving.tables.labelled import AUTO, MAX_CHARACTERS
from serving.tables.rows import RowsBroken

UTF16_SHOWS = 2000  # bytes in which UTF-16 without a byte order mark has a NUL


class NotDecoded(RowsBroken):
    """Bytes that are not valid in the encoding."""

    def __init__(self, encoding: str) -> None:
        name = encoding.upper().removesuffix("-SIG")
        super().__init__(f"the file is not {name}: save it in {name}")


class Lines:
    """Decode chunks and cut them into lines. Each line keeps its end: LF, CR LF or CR.

    encoding: `auto` finds it. An empty chunk says that no more bytes come for now, so the likeliest encoding is taken.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = "ascii" if encoding == AUTO else encoding
        self._decoder = None if encoding == AUTO else codecs.getincrementaldecoder(encoding)()
        self._start = bytearray()  # bytes that do not show the encoding yet
        self._look_at = 1  # length of `_start` at which to look again
        self._seen = 0  # bytes before them
        self._line_ends = io.IncrementalNewlineDecoder(None, translate=False)  # holds a CR back, because an LF may follow
        self._parts: list[str] = []  # of the incomplete line
        self._size = 0  # characters of the incomplete line

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[str]:
        """Yield the lines that these bytes complete. Raise NotDecoded after the lines before an invalid byte."""
        broken = None
        try:
            text = self._decoder.decode(data, final) if self._decoder else self._decode_start(data, final)
        except UnicodeError as error:
            text = error.object[: error.start].decode(error.encoding) if isinstance(error, UnicodeDecodeError) else ""
            broken = NotDecoded(self._encoding)
        for part in io.StringIO(self._line_ends.decode(text, final or broken is not None), newline=""):
            self._parts.append(part)
            self._size += len(part)
            if self._size > MAX_CHARACTERS:
                raise RowsBroken(f"a line has more than {MAX_CHARACTERS:,} characters: shorten it")
            if part.endswith(("\n", "\r")):
                yield self._take()
        if broken:
            raise broken
        if final and self._parts:
            yield self._take()

    def _decode_start(self, data: bytes, final: bool) -> str:
        """Return the text of the first bytes, as far as they show the encoding. ASCII is the same in all but UTF-16."""
        if not self._start and data.isascii() and (self._seen >= UTF16_SHOWS or b"\0" not in data):
            self._seen += len(data)
            return data.decode("ascii")
        paused = not data and not final
        self._start += data
        if not (final or paused) and len(self._start) < self._look_at:
            return ""
        self._look_at = min(2 * len(self._start), SAMPLE_BYTES)  # so many small chunks cost linear time
        start = bytes(self._start)
        encoding = encoding_of_start(start, is_all=final, decide=paused)
        if encoding is None:
            return ""
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._start.clear()
        return self._decoder.decode(start, final)

    def _take(self) -> str:
        line = "".join(self._parts)
        self._parts, self._size = [], 0
        return line
