"""Parquet files, block by block. Only this module imports pyarrow, and only when it opens a file."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from serving.inference.errors import last_line
from serving.tables import blocks
from serving.tables.blocks import Block, CannotScore
from serving.tables.columns import named_columns
from serving.tables.delimited import SAMPLE_ROWS
from serving.tables.errors import ColumnNotFound, FileUnreadable
from serving.tables.labelled import ReadOptions
from serving.tables.rows import Answer, ColumnMissing, ColumnUnsure, Row, RowsBroken, answer_columns, answer_names

ROW_GROUP = 8 * blocks.BLOCK_ROWS  # rows of a row group in the output, at least
PYARROW = "pyarrow==25.0.1"  # for the error below; the server does not require it


class PyarrowMissing(CannotScore):
    """A Parquet file on a machine without pyarrow."""

    def __init__(self) -> None:
        super().__init__(f"Parquet needs pyarrow: pip install {PYARROW}")


class ParquetTable:
    """Parquet. The draft has an Arrow IPC stream for each block, because a Parquet file cannot grow."""

    def __init__(self, file: Path, column: str, on_progress: Callable[[int], object], answer: Sequence[str] = answer_columns()) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise PyarrowMissing from None
        self._arrow, self._parquet, self._on_progress = pyarrow, parquet, on_progress
        self._bytes = file.stat().st_size
        try:
            self._file = parquet.ParquetFile(
                file, buffer_size=1 << 20, pre_buffer=False
            )  # the defaults keep a complete row group in memory
        except pyarrow.ArrowException:
            raise RowsBroken("the file is not Parquet: correct the ending of its name, or write it again") from None
        schema = self._file.schema_arrow
        self._place = self._text_place(column)
        self.column = schema.names[self._place]
        types = dict.fromkeys(("label", "class_name", "error"), pyarrow.string())
        types |= dict.fromkeys(("uncertain", "truncated"), pyarrow.bool_())
        names = zip(answer_names(schema.names, answer), answer, strict=True)
        self._answer_fields = [pyarrow.field(name, types.get(kind, pyarrow.float64())) for name, kind in names]
        self._schema = pyarrow.schema([*schema, *self._answer_fields], schema.metadata)

    def blocks(self) -> Iterator[Block]:
        rows = 0
        try:
            for number, batch in enumerate(self._batches()):
                yield Block(number, [Row(text, None) for text in batch.column(self._place).to_pylist()], batch)
                rows += batch.num_rows
                self._on_progress(self._bytes * rows // max(1, self._file.metadata.num_rows))
        except (self._arrow.ArrowException, UnicodeDecodeError) as error:
            raise RowsBroken(f"the file is damaged ({last_line(error)}): write it again") from None

    def encode(self, block: Block, answers: Sequence[Answer]) -> bytes:
        columns = zip(*(answer.values for answer in answers), strict=True) if answers else [()] * len(self._answer_fields)
        added = [self._arrow.array(column, field.type) for column, field in zip(columns, self._answer_fields, strict=True)]
        stream = io.BytesIO()
        with self._arrow.ipc.new_stream(stream, self._schema) as writer:
            writer.write_batch(self._arrow.RecordBatch.from_arrays([*block.source.columns, *added], schema=self._schema))
        return stream.getvalue()

    def finish(self, draft: Path) -> Path:
        file = draft.with_name(f"{draft.name}.draft")
        try:
            with self._parquet.ParquetWriter(file, self._schema) as writer:
                for batches in self._row_groups(draft):
                    writer.write_table(self._arrow.Table.from_batches(batches, self._schema))
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return file

    def _text_place(self, column: str) -> int:
        """Return the position of the column with the texts, found as in a table."""
        names = self._file.schema_arrow.names
        first = next(self._file.iter_batches(SAMPLE_ROWS), None)
        values = [] if first is None else [column.to_pylist() for column in first.columns]
        rows = [[value if isinstance(value, str) else "" for value in row] for row in zip(*values, strict=True)]
        try:
            return named_columns(Path("-"), names, rows, ReadOptions(None, text_column=column, has_labels=False)).text
        except ColumnNotFound:
            raise ColumnMissing(names) from None
        except FileUnreadable as error:
            raise ColumnUnsure(error) from None

    def _batches(self) -> Iterator[Any]:
        """Yield the record batches of the file: at least one, which may be empty."""
        batch = None
        for batch in self._file.iter_batches(blocks.BLOCK_ROWS):
            yield batch
        if batch is None:
            yield self._arrow.RecordBatch.from_pylist([], self._file.schema_arrow)

    def _row_groups(self, draft: Path) -> Iterator[list[Any]]:
        """Yield the record batches of all streams in the draft, as lists of at least ROW_GROUP rows. The last list may be shorter."""
        group: list[Any] = []
        with self._arrow.OSFile(str(draft)) as streams:
            while streams.tell() < draft.stat().st_size:
                group += self._arrow.ipc.open_stream(streams)
                if sum(batch.num_rows for batch in group) >= ROW_GROUP:
                    yield group
                    group = []
        yield group
