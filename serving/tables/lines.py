"""Lines of a file: chunks of bytes come in, lines of text go out.

Only the incomplete last line stays in memory.
"""

import codecs
import io
from collections.abc import Iterator

from serving.tables.labelled import MAX_CHARACTERS
from serving.tables.rows import RowsBroken


class NotDecoded(RowsBroken):
    """Bytes that are not valid in the encoding."""

    def __init__(self, encoding: str) -> None:
        name = encoding.upper().removesuffix("-SIG")
        super().__init__(f"the file is not {name}: save it in {name}")


class Lines:
    """Decode chunks and cut them into lines. Each line keeps its end: LF, CR LF or CR."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._line_ends = io.IncrementalNewlineDecoder(None, translate=False)  # holds a CR back, because an LF may follow
        self._parts: list[str] = []  # of the incomplete line
        self._size = 0  # characters of the incomplete line

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[str]:
        """Yield the lines that these bytes complete. Raise NotDecoded after the lines before an invalid byte."""
        broken = None
        try:
            text = self._decoder.decode(data, final)
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

    def _take(self) -> str:
        line = "".join(self._parts)
        self._parts, self._size = [], 0
        return line
