"""Blocks of rows: a file is read, classified and written block by block.

Each reading of a file gives the same blocks. The text formats are here, and Parquet is in serving.tables.parquet.
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

BLOCK_ROWS = 4096  # the classifier sorts a block by length: more rows are not faster, and a kill loses seconds of work
BLOCK_CHARACTERS = 1_000_000  # of the texts in a block: so a block of long texts takes only seconds too
CHUNK = 65_536  # bytes


class CannotScore(Exception):
    """A request that the command cannot fulfil. The message is for the user."""


class Block(NamedTuple):
    """number: 0 is the first. source: what `Table.encode` needs beside the rows."""

    number: int
    rows: Sequence[Row]
    source: Any = None


class Table(Protocol):
    """A file that is read and written block by block. column: the column or key of the texts, which is known with the first block."""

    @property
    def column(self) -> str: ...

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks: at least one, which may be empty. Raise RowsBroken after the last good row."""

    def encode(self, block: Block, answers: Sequence[Answer]) -> bytes:
        """Return the bytes of a block with its answers. They go after those of the blocks before it."""

    def finish(self, draft: Path) -> Path:
        """Return the finished file, made from the draft with all encoded blocks."""


def chunks_of(file: Path, on_progress: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked if its name ends in .gz. on_progress: gets the number of bytes read from the file."""
    with file.open("rb") as stored, gzip.open(stored) if file.suffix == ".gz" else stored as content:
        try:
            while chunk := content.read(CHUNK):
                yield chunk
                on_progress(stored.tell())
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise RowsBroken("the compressed file is damaged or incomplete: copy it again") from None


def piped_chunks(on_progress: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the bytes of standard input, and an empty chunk whenever the pipe has no more bytes for now."""
    total = 0
    while chunk := os.read(sys.stdin.fileno(), CHUNK):
        yield chunk
        total += len(chunk)
        on_progress(total)
        if not select.select([sys.stdin], [], [], 0)[0]:
            yield b""


class TextTable:
    """CSV, TSV or NDJSON. chunks: its bytes; an empty chunk ends the block. packed: whether to write gzip."""

    def __init__(self, rows: Rows, chunks: Iterator[bytes], *, packed: bool) -> None:
        self._rows, self._chunks, self._packed = rows, chunks, packed

    @property
    def column(self) -> str:
        return self._rows.column

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of up to BLOCK_ROWS rows or about BLOCK_CHARACTERS characters. Raise RowsBroken after the last good row."""
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

    def encode(self, block: Block, answers: Sequence[Answer]) -> bytes:
        lines = [self._rows.head()] if block.number == 0 else []
        lines += map(self._rows.line, block.rows, answers)
        data = b"".join(lines)
        return gzip.compress(data, mtime=0) if self._packed else data  # several gzip members make one gzip file

    def finish(self, draft: Path) -> Path:
        return draft

    def _all_rows(self) -> Iterator[Row | None]:
        """Yield the rows, and None where the block ends."""
        for chunk in self._chunks:
            yield from self._rows.feed(chunk)
            if not chunk:
                yield None
        yield from self._rows.end()
