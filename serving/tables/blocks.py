"""Files of texts as blocks of rows, the same blocks at every reading: the text formats here, Parquet in serving.tables.parquet.

A block is what is classified, written and counted as one.
"""

import gzip
import os
import select
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from serving.tables.rows import Answer, Row, Rows, RowsBroken

BLOCK_ROWS = 4096  # sorted by length as one: more are not faster, and a kill costs seconds
BLOCK_CHARACTERS = 1_000_000  # of the texts of a block: so it takes seconds with long texts too
CHUNK = 65_536  # bytes


class CannotScore(Exception):
    """What is asked for cannot be done; the text is a sentence for the user."""


class Block(NamedTuple):
    """number: 0 is the first. source: what `written` needs beside the rows."""

    number: int
    rows: Sequence[Row]
    source: Any = None


class Table(Protocol):
    """A file that is read and written by blocks."""

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks, at least one, which may be empty; raise RowsBroken behind the last good row."""

    def written(self, block: Block, answers: Sequence[Answer]) -> bytes:
        """Return a block with its answers, to be put behind those before it."""

    def whole(self, part: Path) -> Path:
        """Return the finished file, made of that with all written blocks."""


def chunks_of(file: Path, seen: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked where it ends in .gz. seen: is told how many bytes of the file have been used."""
    with file.open("rb") as stored, gzip.open(stored) if file.suffix == ".gz" else stored as content:
        try:
            while chunk := content.read(CHUNK):
                yield chunk
                seen(stored.tell())
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise RowsBroken("the compressed file is damaged or cut short") from None


def piped_chunks(seen: Callable[[int], object]) -> Iterator[bytes]:
    """Yield what comes through standard input, and an empty chunk whenever nothing more has come yet."""
    total = 0
    while chunk := os.read(sys.stdin.fileno(), CHUNK):
        yield chunk
        total += len(chunk)
        seen(total)
        if not select.select([sys.stdin], [], [], 0)[0]:
            yield b""


class TextTable:
    """CSV, TSV or NDJSON. chunks: its bytes; an empty chunk asks for a block of what has come. packed: whether to write gzip."""

    def __init__(self, rows: Rows, chunks: Iterator[bytes], *, packed: bool) -> None:
        self._rows, self._chunks, self._packed = rows, chunks, packed

    def blocks(self) -> Iterator[Block]:
        """Cut the rows into blocks as large as one batch takes, or as what has come; what broke the file is raised behind its good rows."""
        number, characters = 0, 0
        block: list[Row] = []
        broken = None
        try:
            for row in self._all_rows():
                if row:
                    block.append(row)
                    characters += len(row.text) if isinstance(row.text, str) else 0
                if block and (row is None or len(block) >= BLOCK_ROWS or characters >= BLOCK_CHARACTERS):
                    yield Block(number, block)
                    number, block, characters = number + 1, [], 0
        except RowsBroken as error:
            broken = error
        if block or not (number or broken):
            yield Block(number, block)
        if broken:
            raise broken

    def written(self, block: Block, answers: Sequence[Answer]) -> bytes:
        lines = [self._rows.head()] if block.number == 0 else []
        lines += map(self._rows.line, block.rows, answers)
        data = b"".join(lines)
        return gzip.compress(data, mtime=0) if self._packed else data  # members of gzip one behind the other are gzip

    def whole(self, part: Path) -> Path:
        return part

    def _all_rows(self) -> Iterator[Row | None]:
        for chunk in self._chunks:
            yield from self._rows.feed(chunk)
            if not chunk:
                yield None
        yield from self._rows.end()
