"""XLSX files. Only this module imports python-calamine, and only when it opens a file.

In: a file. Out: its first visible sheet, with its columns and rows; or its cells as CSV, for bulk scoring.
"""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from serving.tables.columns import columns_of
from serving.tables.delimited import SAMPLE_ROWS
from serving.tables.errors import FileUnreadable
from serving.tables.facts import SourceFacts
from serving.tables.files import FREE_BYTES, MAX_RATIO, ReadObserver, Shard, opened
from serving.tables.labelled import Columns, LabelledRow, ReadOptions
from serving.tables.records import as_text

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

CALAMINE = "python-calamine==0.9.1"  # for the error below; the server does not require it
SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
CELL = re.compile(rb' r="([A-Z]{1,3})([0-9]{1,7})"')
MAX_CELLS = 2**25  # of a sheet, which take a gigabyte: all rows that XLSX allows, in 32 columns


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


def _refuse_bomb(file: Path) -> None:
    """Raise FileUnreadable if a file decompresses to far more than its size, or spans more cells than fit into memory."""
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > FREE_BYTES + MAX_RATIO * file.stat().st_size:
                raise FileUnreadable(
                    file, f"decompresses to over {MAX_RATIO} times its size, which no real table does", "check its content"
                )
            cells = max((_cells_spanned(archive, name) for name in archive.namelist() if SHEET.fullmatch(name)), default=0)
    except (zipfile.BadZipFile, OSError) as error:
        raise FileUnreadable(file, f"is not an XLSX file ({error})", "save it again as .xlsx") from None
    if cells > MAX_CELLS:
        raise FileUnreadable(
            file, f"has a sheet of {cells:,} cells, most of them empty", "delete the cells far to the right and far below the table"
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


def _opened_sheet(file: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the names of the visible sheets, and the rows of the first one, each with its number; raise FileUnreadable."""
    try:
        from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum
    except ModuleNotFoundError:
        raise FileUnreadable(file, "is XLSX, whose reader is not installed", f"type pip install {CALAMINE}, or save it as CSV") from None

    _refuse_bomb(file)
    try:
        book = CalamineWorkbook.from_path(file)
        names = [sheet.name for sheet in book.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible]
        return names, _cells_of(book.get_sheet_by_name(names[0]))
    except (CalamineError, OSError) as error:
        raise FileUnreadable(file, f"is not an XLSX file ({error})", "save it again as .xlsx") from None


def csv_of_sheet(file: Path, on_progress: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the rows of the first visible sheet as UTF-8 CSV; raise FileUnreadable. on_progress: gets the bytes of the file at the end."""
    _, cells = _opened_sheet(file)
    while rows := [fields for _, fields in islice(cells, SAMPLE_ROWS)]:
        chunk = io.StringIO()
        csv.writer(chunk).writerows(rows)
        yield chunk.getvalue().encode()
    on_progress(file.stat().st_size)


def read_sheet(shard: Shard, options: ReadOptions, observer: ReadObserver) -> tuple[Sheet, Iterator[LabelledRow]]:
    """Return the first visible sheet of an XLSX file, and its rows; raise ColumnNotFound or FileUnreadable."""
    names, cells = _opened_sheet(shard.file)
    first = list(islice(cells, SAMPLE_ROWS))
    if not first:
        raise FileUnreadable(shard.file, f"has an empty first sheet '{names[0]}'", "put the texts on the first sheet")
    sheet = Sheet(names[0], tuple(names[1:]), columns_of(shard.file, [fields for _, fields in first], options))
    columns = sheet.columns

    def rows() -> Iterator[LabelledRow]:
        with opened(shard, observer):
            for number, fields in islice(chain(first, cells), columns.rows_above, None):
                yield LabelledRow(fields[columns.text], columns.label_of(fields), number)

    return sheet, rows()


def _cells_of(sheet: "CalamineSheet") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with its number."""
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells = [as_text(value) for value in row]
        if any(cell.strip() for cell in cells):
            yield number, cells
