"""Files that are compressed, linked, changed or damaged are read completely or refused, in bounded memory."""

import gzip
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.tables import files
from stages.shared.errors import FileUnreadable
from stages.shared.sources.source import Source
from stages.shared.sources.tables import ReadOptions
from tests.running import run_command
from tests.stages.shared.sources.reading import TABLE, assert_refused, rows, written


@pytest.mark.parametrize("name", ["reviews.docx", "reviews", "reviews.pdf"])
def test_an_unknown_file_type_is_refused_with_the_known_types(tmp_path, name):
    with pytest.raises(FileUnreadable, match=r"unknown file type '.*': give CSV, TSV, TXT, JSONL, JSON, Parquet or XLSX"):
        rows(written(tmp_path, "text,label\nfine,1\n", name))


def test_shards_are_read_in_the_order_of_their_names(tmp_path):
    for name, text in (("b.csv", "second"), ("a.csv.gz", "first"), (".hidden", "never"), ("나.csv", "third")):
        content = f"text,label\n{text},1\n".encode()
        (tmp_path / unicodedata.normalize("NFD", name)).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert [text for text, _ in rows(tmp_path)] == ["first", "second", "third"]


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
    assert_refused(tmp_path / "a.csv.gz", "is not a complete gzip file")
    (tmp_path / "a.csv.gz").write_text(TABLE, "utf-8")
    assert_refused(tmp_path / "a.csv.gz", "is not a complete gzip file")


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


def test_a_path_out_of_the_project_is_not_a_link(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text(TABLE, "utf-8")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    monkeypatch.chdir(tmp_path / "project")
    assert len(rows(Path("../data/a.csv"))) == 2
    assert len(rows(Path("../data"))) == 2


def test_a_linked_folder_is_refused_unless_it_leads_to_the_cache_of_dvc(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(repository))
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "a.csv").write_text(TABLE, "utf-8")
    (repository / "data/raw/linked").symlink_to(outside)
    assert_refused(repository / "data/raw/linked/a.csv", "is a symbolic link out of the project")
    assert_refused(repository / "data/raw/linked", "is a symbolic link out of the project")
    run_command(sys.executable, "-m", "dvc", "cache", "dir", "--local", outside, cwd=repository)
    assert len(rows(repository / "data/raw/linked/a.csv")) == 2


def test_dvc_files_are_not_shards_and_a_pipe_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text(TABLE, "utf-8")
    (tmp_path / "a.csv.dvc").write_text("outs: []", "utf-8")
    assert len(rows(tmp_path)) == 2
    os.mkfifo(tmp_path / "b.csv")
    assert_refused(tmp_path, "is not a regular file")


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


def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FREE_BYTES", 2**20)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text,label\n" + b"good,1\n" * 3_000_000))
    assert_refused(tmp_path / "a.csv.gz", "decompresses to over 300 times its size")
