"""Sources of records (JSON lines, a JSON list, Parquet) and of cells (XLSX).

In: a shard, or the elements of a JSON list. Out: the columns of text and label, and the rows.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.inference.errors import last_line
from serving.tables.columns import columns_of, named_columns
from serving.tables.delimited import SAMPLE_ROWS, lines_of
from serving.tables.errors import FileUnreadable
from serving.tables.facts import SourceFacts
from serving.tables.files import FREE_BYTES, MAX_RATIO, ReadObserver, Shard, opened
from serving.tables.labelled import LIST_SEPARATOR, Columns, LabelledRow, ReadOptions

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile
    from python_calamine import CalamineSheet

SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
CELL = re.compile(rb' r="([A-Z]{1,3})([0-9]{1,7})"')
MAX_CELLS = 2**25  # of a sheet, which take a gigabyte: all rows that XLSX allows, in 32 columns
PARQUET_ROWS = 10_000  # in memory at a time


def read_json_lines(shard: Shard, encoding: str, options: ReadOptions, observer: ReadObserver) -> tuple[Columns, Iterator[LabelledRow]]:
    """Return the columns and the rows of a file with one JSON object per line."""
    return rows_of_records(shard.file, _objects(shard, encoding, observer), options)


def _objects(shard: Shard, encoding: str, observer: ReadObserver) -> Iterator[tuple[int, Any]]:
    with lines_of(shard, encoding, observer) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise FileUnreadable(shard.file, f"is broken in line {number:,} ({error})", "write one JSON object per line") from None


def rows_of_records(file: Path, records: Iterator[tuple[int, Any]], options: ReadOptions) -> tuple[Columns, Iterator[LabelledRow]]:
    """Return the columns and the rows of flat JSON objects; raise ColumnNotFound or FileUnreadable.

    records: the line or number of each record, and the record.
    """
    first = list(islice(records, SAMPLE_ROWS))
    if not first:
        raise FileUnreadable(file, "has no records", "give a file with labelled texts")
    names = list(dict.fromkeys(name for number, record in first for name in _object(file, number, record)))
    columns = named_columns(file, names, [[_sampled(record.get(name)) for name in names] for _, record in first], options)
    text_name, label_name = names[columns.text], names[columns.labels[0]]

    def rows() -> Iterator[LabelledRow]:
        for number, record in chain(first, records):
            values = _object(file, number, record)
            text, label = (_value(file, number, values, name, may_be_list=name == label_name) for name in (text_name, label_name))
            yield LabelledRow(text, label, number)

    return columns, rows()


def _object(file: Path, number: int, record: Any) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise FileUnreadable(file, f"has no JSON object as record {number:,}", "write each record as an object with a text and a label")
    return record


def _value(file: Path, number: int, record: Mapping[str, Any], name: str, *, may_be_list: bool) -> str:
    if name not in record:
        raise FileUnreadable(file, f"has no '{name}' in record {number:,}", "add it, or remove the record")
    value = record[name]
    if _is_nested(value, may_be_list):
        raise FileUnreadable(file, f"has a nested value in '{name}' of record {number:,}", "give a text, and a label or a list of labels")
    try:
        return _shown(value).encode().decode()
    except UnicodeEncodeError:
        problem = f"has a lone surrogate, half of a character, in '{name}' of record {number:,}"
        raise FileUnreadable(file, problem, "correct that record") from None


def _is_nested(value: Any, may_be_list: bool) -> bool:
    """Tell whether a value is neither a plain value nor, where that is allowed, a list of plain values."""
    return isinstance(value, dict) or (
        isinstance(value, list) and not (may_be_list and not any(isinstance(part, dict | list) for part in value))
    )


def _sampled(value: Any) -> str:
    """Return a value as the search for the columns sees it: a nested one is neither a text nor a label."""
    return "" if _is_nested(value, may_be_list=True) else _shown(value)


def _shown(value: Any) -> str:
    """Return a value as a text, and a list of labels as one text."""
    return LIST_SEPARATOR.join(map(as_text, value)) if isinstance(value, list) else as_text(value)


def as_text(value: Any) -> str:
    """Return a value as a CSV would show it: nothing for null and NaN, integers without a decimal point."""
    if value is None or value != value:  # NaN is not equal to itself
        return ""
    return str(int(value)) if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()) else str(value)


def read_parquet(shard: Shard, options: ReadOptions, observer: ReadObserver) -> tuple[Columns, Iterator[LabelledRow]]:
    """Return the columns and the rows of a Parquet file."""
    import pyarrow.parquet as parquet

    with opened(shard), _parquet_errors(shard):
        file = parquet.ParquetFile(shard.file)
        size = sum(file.metadata.row_group(number).total_byte_size for number in range(file.metadata.num_row_groups))
        if size > FREE_BYTES + MAX_RATIO * shard.state.size:
            raise FileUnreadable(
                shard.file, f"decompresses to over {MAX_RATIO} times its size, which no real table does", "check its content"
            )
        found = file.schema_arrow.names
        once = [name for name in found if found.count(name) == 1]  # Arrow cannot read the others
        records = [dict(zip(once, values, strict=True)) for values in _parquet_rows(file, once, SAMPLE_ROWS)]
        sample = [[_sampled(record.get(name)) for name in found] for record in records]
        columns = named_columns(shard.file, found, sample, options)
    text_name, label_name = found[columns.text], found[columns.labels[0]]

    def rows() -> Iterator[LabelledRow]:
        with opened(shard, observer), _parquet_errors(shard):
            for number, (text, label) in enumerate(_parquet_rows(parquet.ParquetFile(shard.file), [text_name, label_name]), 1):
                yield LabelledRow(
                    _cell(shard.file, number, text_name, text, may_be_list=False),
                    _cell(shard.file, number, label_name, label, may_be_list=True),
                    number,
                )

    return columns, rows()


def _parquet_rows(file: "ParquetFile", names: Sequence[str], at_most: int | None = None) -> Iterator[tuple[Any, ...]]:
    """Yield the values of the named columns, row by row."""
    batches = file.iter_batches(min(PARQUET_ROWS, at_most or PARQUET_ROWS), columns=list(dict.fromkeys(names)))
    values = (row for batch in batches for row in zip(*(batch.column(name).to_pylist() for name in names), strict=True))
    return islice(values, at_most)


@contextmanager
def _parquet_errors(shard: Shard) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except UnicodeDecodeError:
        raise FileUnreadable(shard.file, "holds bytes that are not UTF-8", "write its columns of text and label as strings") from None
    except (ArrowException, OSError, KeyError, OverflowError) as error:
        raise FileUnreadable(shard.file, f"cannot be read as Parquet ({last_line(error)})", "export it again") from None


def _cell(file: Path, number: int, name: str, value: Any, *, may_be_list: bool) -> str:
    if _is_nested(value, may_be_list):
        raise FileUnreadable(file, f"has a nested value in '{name}' of row {number:,}", "give a text, and a label or a list of labels")
    return _shown(value.decode() if isinstance(value, bytes) else value)


@dataclass(frozen=True)
class Sheet:
    """The sheet of an XLSX file that is read. others: the other visible sheets."""

    name: str
    others: tuple[str, ...]
    columns: Columns

    @property
    def facts(self) -> SourceFacts:
        found = SourceFacts.of_file(format="xlsx", sheet=self.name) | self.columns.facts
        return found | SourceFacts.of_file(other_sheets=", ".join(self.others)) if self.others else found


def _refuse_bomb(shard: Shard) -> None:
    """Raise FileUnreadable if a file decompresses to far more than its size, or spans more cells than fit into memory."""
    try:
        with zipfile.ZipFile(shard.file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > FREE_BYTES + MAX_RATIO * shard.file.stat().st_size:
                raise FileUnreadable(
                    shard.file, f"decompresses to over {MAX_RATIO} times its size, which no real table does", "check its content"
                )
            cells = max((_cells_spanned(archive, name) for name in archive.namelist() if SHEET.fullmatch(name)), default=0)
    except (zipfile.BadZipFile, OSError) as error:
        raise FileUnreadable(shard.file, f"is not an XLSX file ({error})", "save it again as .xlsx") from None
    if cells > MAX_CELLS:
        raise FileUnreadable(
            shard.file, f"has a sheet of {cells:,} cells, most of them empty", "delete the cells far to the right and far below the table"
        )


def _cells_spanned(archive: zipfile.ZipFile, name: str) -> int:
    """Return the rows times the columns of a sheet, from the references of its cells."""
    columns, rows, tail = 0, 0, b""
    with archive.open(name) as stream:
        while chunk := stream.read(2**20):
            data = tail + chunk
            for letters, number in CELL.findall(data):
                columns = max(columns, reduce(lambda value, letter: 26 * value + letter - 64, letters, 0))
                rows = max(rows, int(number))
            tail = data[-32:]
    return columns * rows


def read_sheet(shard: Shard, options: ReadOptions, observer: ReadObserver) -> tuple[Sheet, Iterator[LabelledRow]]:
    """Return the first visible sheet of an XLSX file, and its rows; raise ColumnNotFound or FileUnreadable."""
    from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum

    _refuse_bomb(shard)
    try:
        book = CalamineWorkbook.from_path(shard.file)
        names = [sheet.name for sheet in book.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible]
        cells = _cells_of(book.get_sheet_by_name(names[0]))
    except (CalamineError, OSError) as error:
        raise FileUnreadable(shard.file, f"is not an XLSX file ({error})", "save it again as .xlsx") from None
    first = list(islice(cells, SAMPLE_ROWS))
    if not first:
        raise FileUnreadable(shard.file, f"has an empty first sheet '{names[0]}'", "put the texts on the first sheet")
    sheet = Sheet(names[0], tuple(names[1:]), columns_of(shard.file, [fields for _, fields in first], options))
    columns = sheet.columns

    def rows() -> Iterator[LabelledRow]:
        with opened(shard, observer):
            for number, fields in islice(chain(first, cells), 0 if columns.names is None else 1, None):
                yield LabelledRow(fields[columns.text], columns.label_of(fields), number)

    return sheet, rows()


def _cells_of(sheet: "CalamineSheet") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with its number."""
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells = [as_text(value) for value in row]
        if any(cell.strip() for cell in cells):
            yield number, cells
