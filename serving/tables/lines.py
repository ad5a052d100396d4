"""Bytes -> lines: decodes chunks and cuts them at LF, CR LF or CR. Holds nothing but the line that is not complete yet."""

import codecs
import io
from collections.abc import Iterator

from serving.tables.rows import MAX_ROW, NotDecoded, RowsBroken


class Lines:
    """Cuts chunks of bytes into lines with their ends (LF, CR LF or CR)."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ends = io.IncrementalNewlineDecoder(None, translate=False)  # keeps a CR back that may be half of a line end
        self._parts: list[str] = []  # of the line that is not complete yet
        self._size = 0

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[str]:
        """Give the lines that the bytes complete; raise NotDecoded behind those that stand before a byte that is no text."""
        broken = None
        try:
            text = self._decoder.decode(data, final)
        except UnicodeError as error:
            text = error.object[: error.start].decode(error.encoding) if isinstance(error, UnicodeDecodeError) else ""
            broken = NotDecoded(self._encoding)
        for part in io.StringIO(self._ends.decode(text, final or broken is not None), newline=""):
            self._parts.append(part)
            self._size += len(part)
            if self._size > MAX_ROW:
                raise RowsBroken(f"a line has more than {MAX_ROW:,} characters")
            if part.endswith(("\n", "\r")):
                yield self._taken()
        if broken:
            raise broken
        if final and self._parts:
            yield self._taken()

    def _taken(self) -> str:
        line = "".join(self._parts)
        self._parts, self._size = [], 0
        return line
