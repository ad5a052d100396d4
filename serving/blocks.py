"""Files of texts as blocks of rows, the same blocks at every reading: text formats by serving.rows, Parquet by pyarrow.

A block is what is classified, written and counted as one.
"""

import gzip
import io
import os
import select
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from serving.rows import Answer, ColumnMissing, Row, Rows, RowsBroken, answer_names

BLOCK_ROWS = 4096  # sorted by length as one: more are not faster, and a kill costs seconds
BLOCK_CHARACTERS = 1_000_000  # of the texts of a block: so it takes seconds with long texts too
CHUNK = 65_536  # bytes
ROW_GROUP = 8 * BLOCK_ROWS  # of Parquet that is written
PYARROW = "pyarrow==25.0.1"  # for the sentence; it is no requirement of the server


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


class PyarrowMissing(CannotScore):
    """Parquet without the library for it."""

    def __init__(self) -> None:
        super().__init__(f"Parquet needs pyarrow: pip install {PYARROW}")


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


class ParquetTable:
    """Parquet, whose blocks are kept as Arrow IPC streams until all are there: Parquet itself cannot grow."""

    def __init__(self, file: Path, column: str, seen: Callable[[int], object]) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise PyarrowMissing from None
        self._arrow, self._parquet, self._seen = pyarrow, parquet, seen
        self._bytes = file.stat().st_size
        try:
            self._file = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)  # else whole row groups are held
        except pyarrow.ArrowException:
            raise RowsBroken("it is not a Parquet file") from None
        schema = self._file.schema_arrow
        if column not in schema.names:
            raise ColumnMissing(schema.names)
        self._place = schema.names.index(column)
        types = (pyarrow.string(), pyarrow.float64(), pyarrow.string())
        self._added = [pyarrow.field(name, kind) for name, kind in zip(answer_names(schema.names), types, strict=True)]
        self._schema = pyarrow.schema([*schema, *self._added], schema.metadata)

    def blocks(self) -> Iterator[Block]:
        rows = 0
        try:
            for number, batch in enumerate(self._batches()):
                yield Block(number, [Row(text, None) for text in batch.column(self._place).to_pylist()], batch)
                rows += batch.num_rows
                self._seen(self._bytes * rows // max(1, self._file.metadata.num_rows))
        except (self._arrow.ArrowException, UnicodeDecodeError) as error:
            raise RowsBroken(f"it cannot be read any further ({str(error).splitlines()[0]})") from None

    def written(self, block: Block, answers: Sequence[Answer]) -> bytes:
        columns = zip(*answers, strict=True) if answers else [()] * len(self._added)
        added = [self._arrow.array(column, field.type) for column, field in zip(columns, self._added, strict=True)]
        stream = io.BytesIO()
        with self._arrow.ipc.new_stream(stream, self._schema) as writer:
            writer.write_batch(self._arrow.RecordBatch.from_arrays([*block.source.columns, *added], schema=self._schema))
        return stream.getvalue()

    def whole(self, part: Path) -> Path:
        draft = part.with_name(f"{part.name}.draft")
        try:
            with self._parquet.ParquetWriter(draft, self._schema) as writer:
                for batches in self._row_groups(part):
                    writer.write_table(self._arrow.Table.from_batches(batches, self._schema))
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return draft

    def _batches(self) -> Iterator[Any]:
        batch = None
        for batch in self._file.iter_batches(BLOCK_ROWS):
            yield batch
        if batch is None:
            yield self._arrow.RecordBatch.from_pylist([], self._file.schema_arrow)

    def _row_groups(self, part: Path) -> Iterator[list[Any]]:
        """Yield the batches of all streams, which stand one behind the other, as many together as are a row group."""
        group: list[Any] = []
        with self._arrow.OSFile(str(part)) as streams:
            while streams.tell() < part.stat().st_size:
                group += self._arrow.ipc.open_stream(streams)
                if sum(batch.num_rows for batch in group) >= ROW_GROUP:
                    yield group
                    group = []
        yield group
