"""The first visible sheet of an XLSX file is read, in labelled rows and as CSV; a file that would fill the memory is refused."""

import csv
import io
import zipfile

import openpyxl

from serving.tables.spreadsheets import csv_of_sheet
from stages.shared.sources.source import Source
from stages.shared.sources.tables import ReadOptions
from tests.stages.shared.sources.reading import assert_refused


def test_the_first_visible_sheet_is_read_and_the_others_are_reported(tmp_path):
    book = openpyxl.Workbook()
    hidden, seen, other = book.active, book.create_sheet("reviews"), book.create_sheet("notes")
    hidden.sheet_state = "hidden"
    for sheet, text in ((hidden, "secret"), (seen, "good"), (other, "note")):
        for row in (["text", "label"], [], [text, 1]):
            sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    source = Source(tmp_path / "a.xlsx", ReadOptions({"0", "1"}.__contains__), optional=False)
    assert [(row.text, row.line) for row in source.rows()] == [("good", 3)]
    assert (source.facts.sheet, source.facts.other_sheets) == (("reviews",), ("notes",))


def test_an_xlsx_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.tables.spreadsheets.FREE_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 20_000_000)
    assert_refused(tmp_path / "a.xlsx", "decompresses to over 300 times its size")


def test_a_sheet_with_a_far_cell_is_refused_before_it_fills_the_memory(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["text", "label"])
    book.active.append(["good", 1])
    book.active["XFD1048576"] = "x"
    book.save(tmp_path / "a.xlsx")
    assert_refused(tmp_path / "a.xlsx", "has a sheet of 17,179,869,184 cells, most of them empty")


def test_title_rows_of_a_sheet_are_left_out(tmp_path):
    book = openpyxl.Workbook()
    for row in (["Reviews of 2024"], ["by Kim", None, None], [], ["id", "text", "label"], [1, "good", 1], [2, "bad", 0]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    source = Source(tmp_path / "a.xlsx", ReadOptions({"0", "1"}.__contains__), optional=False)
    assert [(row.text, row.label, row.line) for row in source.rows()] == [("good", "1", 5), ("bad", "0", 6)]
    assert source.facts.title_rows == ("2",)


def test_cells_become_csv_that_the_csv_module_reads(tmp_path):
    cells = [["text", "n"], ['a "good", film\nof two lines', 7], ["정말 좋아요", 1.5], [None, True]]
    book = openpyxl.Workbook()
    for row in cells:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    progress: list[int] = []
    content = b"".join(csv_of_sheet(tmp_path / "a.xlsx", progress.append)).decode()
    assert list(csv.reader(io.StringIO(content, newline=""))) == [
        ["text", "n"],
        ['a "good", film\nof two lines', "7"],
        ["정말 좋아요", "1.5"],
        ["", "1"],
    ]
    assert progress == [(tmp_path / "a.xlsx").stat().st_size]
