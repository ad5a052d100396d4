"""Files that are packed, linked, changed, damaged or too large are read whole or refused, in bounded memory."""

import gzip
import os
import sys
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from stages.shared.errors import FileUnreadable
from stages.shared.sources import delimited, files
from stages.shared.sources.errors import ColumnMissing
from stages.shared.sources.rows import ReadOptions
from stages.shared.sources.source import Source
from tests.conftest import run_command

TABLE = "text,label\ngood,1\nbad,0\n"


def rows(path: Path) -> list[tuple[str, str]]:
    return [(row.text, row.label) for row in Source(path, ReadOptions({"0", "1"}.__contains__), optional=False).rows()]


def assert_refused(path: Path, sentence: str) -> None:
    with pytest.raises(FileUnreadable, match=sentence):
        rows(path)


def test_shards_are_read_in_the_order_of_their_names(tmp_path):
    for name, text in (("b.csv", "second"), ("a.csv.gz", "first"), (".hidden", "never"), ("나.csv", "third")):
        content = f"text,label\n{text},1\n".encode()
        (tmp_path / unicodedata.normalize("NFD", name)).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert [text for text, _ in rows(tmp_path)] == ["first", "second", "third"]


def test_shards_may_be_written_in_different_ways(tmp_path):
    (tmp_path / "1.csv").write_text(TABLE, "utf-8")
    (tmp_path / "2.tsv").write_bytes("감정없음\t좋은 영화\t1\n그것도\t나쁜 영화\t0\n".encode("cp949"))
    source = Source(tmp_path, ReadOptions({"0", "1"}.__contains__), optional=False)
    assert [(row.text, row.label) for row in source.rows()] == [("good", "1"), ("bad", "0"), ("좋은 영화", "1"), ("나쁜 영화", "0")]
    assert (source.facts["encoding"], source.facts["separator"]) == ("utf-8 | cp949", "comma | tab")


def test_a_folder_of_several_kinds_or_of_folders_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text(TABLE, "utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "a", "label": 1}', "utf-8")
    assert_refused(tmp_path, "holds files of several kinds")
    (tmp_path / "b.jsonl").unlink()
    (tmp_path / "deep").mkdir()
    assert_refused(tmp_path, "is a folder in a folder")


def test_a_damaged_gzip_file_is_refused(tmp_path):
    packed = gzip.compress(TABLE.encode() * 1000)
    (tmp_path / "a.csv.gz").write_bytes(packed[:-20])
    assert_refused(tmp_path / "a.csv.gz", "is no whole gzip file")
    (tmp_path / "a.csv.gz").write_text(TABLE, "utf-8")
    assert_refused(tmp_path / "a.csv.gz", "is no whole gzip file")


def test_a_bomb_is_refused_before_it_takes_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FREE_BYTES", 2**20)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text,label\n" + b"good,1\n" * 3_000_000))
    assert_refused(tmp_path / "a.csv.gz", "holds over 300 times its size")
    monkeypatch.setattr("stages.shared.sources.records.FREE_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 20_000_000)
    assert_refused(tmp_path / "a.xlsx", "holds over 300 times its size")


def test_a_link_out_of_the_project_is_refused_and_one_within_is_followed(tmp_path, monkeypatch):
    project, outside = tmp_path / "project", tmp_path / "outside.csv"
    project.mkdir()
    outside.write_text(TABLE, "utf-8")
    monkeypatch.setenv("DVC_ROOT", str(project))
    (project / "linked.csv").symlink_to(outside)
    assert_refused(project / "linked.csv", "is a symbolic link out of the project")
    (project / "own.csv").write_text(TABLE, "utf-8")
    (project / "inner.csv").symlink_to(project / "own.csv")
    assert len(rows(project / "inner.csv")) == 2


def test_a_path_that_leads_beside_the_project_is_no_link(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text(TABLE, "utf-8")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    monkeypatch.chdir(tmp_path / "project")
    assert len(rows(Path("../data/a.csv"))) == 2
    assert len(rows(Path("../data"))) == 2


def test_a_link_on_the_way_is_a_link_too_but_the_cache_of_dvc_may_lie_elsewhere(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(repository))
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "a.csv").write_text(TABLE, "utf-8")
    (repository / "data/raw/linked").symlink_to(outside)
    assert_refused(repository / "data/raw/linked/a.csv", "is a symbolic link out of the project")
    assert_refused(repository / "data/raw/linked", "is a symbolic link out of the project")
    run_command(sys.executable, "-m", "dvc", "cache", "dir", "--local", outside, cwd=repository)
    assert len(rows(repository / "data/raw/linked/a.csv")) == 2


def test_what_dvc_writes_beside_a_shard_is_no_shard_and_a_pipe_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text(TABLE, "utf-8")
    (tmp_path / "a.csv.dvc").write_text("outs: []", "utf-8")
    assert len(rows(tmp_path)) == 2
    os.mkfifo(tmp_path / "b.csv")
    assert_refused(tmp_path, "is no regular file")


def test_a_packed_table_of_one_long_text_is_refused(tmp_path, monkeypatch):
    pd.DataFrame({"text": ["a" * 10_000_000], "label": [1]}).to_parquet(tmp_path / "a.parquet", compression="zstd")
    assert_refused(tmp_path / "a.parquet", "has a text of over 1,048,576 characters in row 1")
    monkeypatch.setattr("stages.shared.sources.records.FREE_BYTES", 2**20)
    assert_refused(tmp_path / "a.parquet", "holds over 300 times its size")


def test_a_cell_far_away_is_refused_before_all_between_take_the_memory(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["text", "label"])
    book.active.append(["good", 1])
    book.active["XFD1048576"] = "x"
    book.save(tmp_path / "a.xlsx")
    assert_refused(tmp_path / "a.xlsx", "has a sheet of 17,179,869,184 cells, most of them empty")


def test_the_first_sheet_that_is_seen_is_read_and_the_others_are_told(tmp_path):
    book = openpyxl.Workbook()
    hidden, seen, other = book.active, book.create_sheet("reviews"), book.create_sheet("notes")
    hidden.sheet_state = "hidden"
    for sheet, text in ((hidden, "secret"), (seen, "good"), (other, "note")):
        for row in (["text", "label"], [], [text, 1]):
            sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    source = Source(tmp_path / "a.xlsx", ReadOptions({"0", "1"}.__contains__), optional=False)
    assert [(row.text, row.line) for row in source.rows()] == [("good", 3)]
    assert (source.facts["sheet"], source.facts["other_sheets"]) == ("reviews", "notes")


def test_a_row_of_many_lines_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "MAX_LINE", 10_000)
    (tmp_path / "a.csv").write_text('text,label\n"' + "a line\n" * 2_000 + '",1\n', "utf-8")
    assert_refused(tmp_path / "a.csv", "has a row of over 10,000 characters")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(TABLE + "fine,1\n" * 100_000, "utf-8")

    def read() -> Iterator[str]:
        for row in Source(file, ReadOptions({"0", "1"}.__contains__), optional=False).rows():
            yield row.text

    reading = read()
    next(reading)
    with file.open("a", encoding="utf-8") as more:
        more.write("late,0\n")
    with pytest.raises(FileUnreadable, match="was changed while it was read"):
        list(reading)


def test_a_line_without_end_is_refused_and_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "MAX_LINE", 2**20)
    file = tmp_path / "a.csv"
    with file.open("wb") as out:
        out.write(b"text,label\n")
        for _ in range(64):
            out.write(b"a" * 2**20)
    tracemalloc.start()
    assert_refused(file, "has over 1,048,576 characters in line 2")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20


def test_a_pointer_or_an_error_page_in_the_place_of_the_data_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "utf-8")
    with pytest.raises(ColumnMissing, match=r"has no column 'text' .*: name the right one in preprocess\.text_column"):
        rows(tmp_path / "a.csv")


def test_a_broken_byte_behind_the_sample_is_named(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + "좋은 영화,1\n".encode() * 200_000 + b"bad \xff,1\n")
    assert_refused(tmp_path / "a.csv", "is not utf-8 throughout")
