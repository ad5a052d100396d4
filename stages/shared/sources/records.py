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
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.shared.errors import FileUnreadable, first_line
from stages.shared.sources.columns import columns_of
from stages.shared.sources.delimited import SAMPLE_ROWS, lines_of
from stages.shared.sources.errors import ColumnMissing
from stages.shared.sources.facts import SourceFacts
from stages.shared.sources.files import FREE_BYTES, MAX_RATIO, ReadObserver, Shard, opened
from stages.shared.sources.rows import AUTO, LABEL_NAMES, TEXT_NAMES, Columns, ReadOptions, Row

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
CELL = re.compile(rb' r="([A-Z]{1,3})([0-9]{1,7})"')
MAX_CELLS = 2**25  # of a sheet, which take a gigabyte: all rows that XLSX allows, in 32 columns
PARQUET_ROWS = 10_000  # in memory at a time


class Names(NamedTuple):
    """The names of the columns of text and label."""

    text: str
    label: str

    @property
    def facts(self) -> SourceFacts:
        return SourceFacts.of_file(text_column=self.text, label_column=self.label)


def read_json_lines(shard: Shard, encoding: str, options: ReadOptions, observer: ReadObserver) -> tuple[Names, Iterator[Row]]:
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


def rows_of_records(file: Path, records: Iterator[tuple[int, Any]], options: ReadOptions) -> tuple[Names, Iterator[Row]]:
    """Return the columns and the rows of flat JSON objects; raise ColumnMissing or FileUnreadable.

    records: the line or number of each record, and the record.
    """
    first = list(islice(records, SAMPLE_ROWS))
    if not first:
        raise FileUnreadable(file, "has no records", "give a file with labelled texts")
    names = names_of(file, list(dict.fromkeys(name for number, record in first for name in _object(file, number, record))), options)

    def rows() -> Iterator[Row]:
        for number, record in chain(first, records):
            text, label = (_value(file, number, _object(file, number, record), name) for name in names)
            yield Row(text, label, number)

    return names, rows()


def _object(file: Path, number: int, record: Any) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise FileUnreadable(file, f"has no JSON object as record {number:,}", "write each record as an object with a text and a label")
    return record


def names_of(file: Path, found: Sequence[str], options: ReadOptions) -> Names:
    """Return which of the found names are text and label; raise ColumnMissing."""
    chosen = []
    for wanted, likely, param in ((options.text_column, TEXT_NAMES, "text_column"), (options.label_column, LABEL_NAMES, "label_column")):
        position = options.position(found, wanted, likely)
        if position is None:
            raise ColumnMissing(file, likely[0] if wanted == AUTO else wanted, f"preprocess.{param}", found)
        chosen.append(found[position])
    return Names(*chosen)


def _value(file: Path, number: int, record: Mapping[str, Any], name: str) -> str:
    if name not in record:
        raise FileUnreadable(file, f"has no '{name}' in record {number:,}", "add it, or remove the record")
    value = record[name]
    if isinstance(value, dict | list):
        raise FileUnreadable(file, f"has a nested value in '{name}' of record {number:,}", "give a text and one label per record")
    try:
        return as_text(value).encode().decode()
    except UnicodeEncodeError:
        problem = f"has a lone surrogate, half of a character, in '{name}' of record {number:,}"
        raise FileUnreadable(file, problem, "correct that record") from None


def as_text(value: Any) -> str:
    """Return a value as a CSV would show it: nothing for null and NaN, integers without a decimal point."""
    if value is None or value != value:  # NaN is not equal to itself
        return ""
    return str(int(value)) if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()) else str(value)


def read_parquet(shard: Shard, options: ReadOptions, observer: ReadObserver) -> tuple[Names, Iterator[Row]]:
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
        names = names_of(shard.file, found, options)
        _refuse_twice(shard, found, names)

    def rows() -> Iterator[Row]:
        number = 0
        with opened(shard, observer), _parquet_errors(shard):
            for batch in parquet.ParquetFile(shard.file).iter_batches(PARQUET_ROWS, columns=list(dict.fromkeys(names))):
                for values in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                    number += 1
                    text, label = (_cell(shard.file, number, name, value) for name, value in zip(names, values, strict=True))
                    yield Row(text, label, number)

    return names, rows()


def _refuse_twice(shard: Shard, found: Sequence[str], names: Names) -> None:
    for name in names:
        if found.count(name) > 1:
            raise FileUnreadable(shard.file, f"has the column '{name}' more than once", "rename or remove one of them")


@contextmanager
def _parquet_errors(shard: Shard) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except UnicodeDecodeError:
        raise FileUnreadable(shard.file, "holds bytes that are not UTF-8", "write its columns of text and label as strings") from None
    except (ArrowException, OSError, KeyError, OverflowError) as error:
        raise FileUnreadable(shard.file, f"cannot be read as Parquet ({first_line(error)})", "export it again") from None


def _cell(file: Path, number: int, name: str, value: Any) -> str:
    if isinstance(value, dict | list):
        raise FileUnreadable(file, f"has a nested value in '{name}' of row {number:,}", "give a text and one label per row")
    return value.decode() if isinstance(value, bytes) else as_text(value)


@dataclass(frozen=True)
class Sheet:
    """The sheet of an XLSX file that is read. others: the other visible sheets."""

    name: str
    others: tuple[str, ...]
    columns: Columns

    @property
    def facts(self) -> SourceFacts:
        found = SourceFacts.of_file(format="aihub xlsx" if self.columns.is_aihub else "xlsx", sheet=self.name) | self.columns.facts
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


def read_sheet(shard: Shard, options: ReadOptions, observer: ReadObserver) -> tuple[Sheet, Iterator[Row]]:
    """Return the first visible sheet of an XLSX file, and its rows; raise ColumnMissing or FileUnreadable."""
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
    sheet = Sheet(names[0], tuple(names[1:]), columns_of(shard, [fields for _, fields in first], options))
    columns = sheet.columns

    def rows() -> Iterator[Row]:
        with opened(shard, observer):
            for number, fields in islice(chain(first, cells), 0 if columns.names is None else 1, None):
                yield Row(fields[columns.text], columns.label_of(fields), number)

    return sheet, rows()


def _cells_of(sheet: "CalamineSheet") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with its number."""
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells = [as_text(value) for value in row]
        if any(cell.strip() for cell in cells):
            yield number, cells
