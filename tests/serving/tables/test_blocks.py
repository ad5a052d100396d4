"""Tests that rows become blocks of bounded size, the same at every reading, and that a gzipped file comes back complete."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.tables import blocks
from serving.tables.blocks import Block, TextTable, chunks_of
from serving.tables.formats import rows_of
from serving.tables.rows import Answer, RowsBroken


def table(*chunks: bytes, packed: bool = False) -> TextTable:
    return TextTable(rows_of("csv", "text"), iter(chunks), packed=packed)


def texts(found: Iterator[Block]) -> list[list[object]]:
    """Return the texts of each block."""
    numbered = list(found)
    assert [block.number for block in numbered] == list(range(len(numbered)))
    return [[row.text for row in block.rows] for block in numbered]


def test_block_ends_at_its_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 2)
    assert texts(table(b"text\na\nb\nc", b"\nd\ne\n").blocks()) == [["a", "b"], ["c", "d"], ["e"]]


def test_block_ends_at_its_number_of_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_CHARACTERS", 4)
    assert texts(table(b"text\nabc\nd\nefghi\nj\n").blocks()) == [["abc", "d"], ["efghi"], ["j"]]


def test_empty_chunk_ends_the_block() -> None:
    assert texts(table(b"text\na\n", b"", b"", b"b\nc", b"").blocks()) == [["a"], ["b"], ["c"]]


def test_file_without_rows_is_one_empty_block() -> None:
    assert texts(table(b"text\n").blocks()) == [[]]


def test_error_comes_after_the_block_of_the_good_rows() -> None:
    found = table(b'text\ngood\n"never closed\n').blocks()
    assert [row.text for row in next(found).rows] == ["good"]
    with pytest.raises(RowsBroken, match="never closed"):
        next(found)


def test_header_comes_with_the_first_block_only() -> None:
    rows = table(b"text\na\n", b"", b"b\n")
    assert [rows.encode(block, [Answer("LABEL_1", 0.5, None)]) for block in rows.blocks()] == [
        b"text,label,score,error\na,LABEL_1,0.5,\n",
        b"b,LABEL_1,0.5,\n",
    ]


def test_packed_blocks_make_one_gzip_file_of_equal_bytes() -> None:
    def encoded() -> bytes:
        rows = table(b"text\na\n", b"", b"b\n", packed=True)
        return b"".join(rows.encode(block, [Answer(None, None, "why")]) for block in rows.blocks())

    assert gzip.decompress(encoded()) == b"text,label,score,error\na,,,why\nb,,,why\n"
    assert encoded() == encoded()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_chunks_are_the_content_and_progress_is_of_the_file(tmp_path: Path, name: str) -> None:
    content, progress = b"text\n" + bytes(range(256)) * 1000, []
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert b"".join(chunks_of(tmp_path / name, progress.append)) == content
    assert progress[-1] == (tmp_path / name).stat().st_size


def test_incomplete_gzip_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(bytes(range(256)))[:-20])
    with pytest.raises(RowsBroken, match="damaged or incomplete"):
        list(chunks_of(tmp_path / "a.csv.gz", lambda _: None))
