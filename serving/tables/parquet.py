"""Parquet files, block by block, by pyarrow."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from serving.tables import blocks
from serving.tables.blocks import Block, CannotScore
from serving.tables.rows import Answer, ColumnMissing, Row, RowsBroken, answer_names

ROW_GROUP = 8 * blocks.BLOCK_ROWS  # of Parquet that is written
PYARROW = "pyarrow==25.0.1"  # for the sentence; it is no requirement of the server


class PyarrowMissing(CannotScore):
    """Parquet without the library for it."""

    def __init__(self) -> None:
        super().__init__(f"Parquet needs pyarrow: pip install {PYARROW}")


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
        for batch in self._file.iter_batches(blocks.BLOCK_ROWS):
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
