"""A text in any supported encoding is read, and its encoding returned. Other bytes are refused with the line."""

import io
from pathlib import Path

import pytest

from serving.tables.encoding import encoding_of, read_text
from serving.tables.errors import FileUnreadable

KOREAN = "text,label\n정말 재미있어요,1\n다시는 안 봐요,0\n"
ENGLISH = "text,label\nlovely film,1\npoor film,0\n"


def written(folder: Path, data: bytes) -> Path:
    file = folder / "texts.csv"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("text", [KOREAN, ENGLISH], ids=["korean", "english"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_read_with_and_without_a_byte_order_mark(tmp_path, text, encoding):
    assert read_text(written(tmp_path, text.encode(encoding))) == (text, encoding)


def test_big_endian_utf16_with_its_mark_is_read(tmp_path):
    assert read_text(written(tmp_path, b"\xfe\xff" + KOREAN.encode("utf-16-be"))) == (KOREAN, "utf-16")


def test_plain_ascii_is_read_as_utf8(tmp_path):
    assert read_text(written(tmp_path, b"text\nfine\n")).encoding == "utf-8"


@pytest.mark.parametrize(
    "text", [KOREAN, "text,label\n그 영화 진짜 쀍했다 뷁,0\n", "정말 좋아요, 100% 추천! A+\r\n"], ids=["common", "rare", "mixed"]
)
def test_korean_windows_text_is_read_as_cp949(tmp_path, text):
    assert read_text(written(tmp_path, text.encode("cp949"))) == (text, "cp949")


@pytest.mark.parametrize(
    "text",
    ["text,label\nIt’s “fine” – really…,1\n", "text,label\nUn café très réussi à côté,1\n", "text,label\nschöne Grüße, müßig für 5 €,1\n"],
    ids=["curly quotes", "french", "german"],
)
def test_western_windows_text_is_read_as_cp1252(tmp_path, text):
    assert read_text(written(tmp_path, text.encode("cp1252"))) == (text, "cp1252")


def test_a_source_without_permission_is_refused_as_unreadable(tmp_path, monkeypatch):
    def forbidden(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(FileUnreadable, match="cannot be read"):
        read_text(tmp_path / "texts.csv")


def test_line_ends_stay_as_they_are(tmp_path):
    assert read_text(written(tmp_path, b"a\r\nb\rc\n")).text == "a\r\nb\rc\n"


@pytest.mark.parametrize("text", [KOREAN, "text,label\nthe café wasn’t good,0\n“très bien”,1\n"], ids=["korean", "western"])
@pytest.mark.parametrize("byte", [0xFF, 0xE9], ids=hex)
def test_a_broken_byte_is_refused_with_its_line(tmp_path, text, byte):
    file = written(tmp_path, text.encode() * 10 + b"bad %c byte\n" % byte)
    line = 10 * text.count("\n") + 1
    with pytest.raises(FileUnreadable, match=rf"texts\.csv is neither UTF-8, .*byte 0x{byte:02x} in line {line}\b"):
        read_text(file)


def test_a_broken_byte_in_korean_windows_text_does_not_turn_it_into_western_text(tmp_path):
    file = written(tmp_path, KOREAN.encode("cp949") * 20 + b"bad \xff byte\n")
    with pytest.raises(FileUnreadable, match="line 61"):
        read_text(file)


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfgood\xff", b"\xff\xfeg\0o\0o"], ids=["utf-8", "utf-16"])
def test_a_byte_order_mark_before_other_bytes_is_refused(tmp_path, data):
    with pytest.raises(FileUnreadable, match="neither UTF-8"):
        read_text(written(tmp_path, data))


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"text,label\ngood \0film,1\n", 2), (b"text,label\n\0good,1\nbad,0\nfine,1\n", 2), (KOREAN.encode() + b"\0", 4)],
    ids=["inside", "after a line end", "at the end"],
)
def test_a_nul_byte_is_refused_with_its_line(tmp_path, data, line):
    with pytest.raises(FileUnreadable, match=f"has a NUL byte in line {line}: "):
        read_text(written(tmp_path, data))


@pytest.mark.parametrize("data", [b"", b"\n \r\n\t", b"\xef\xbb\xbf", b"\xff\xfe"], ids=["no bytes", "blanks", "utf-8 mark", "utf-16 mark"])
def test_a_file_without_text_is_refused_as_empty(tmp_path, data):
    with pytest.raises(FileUnreadable, match="is empty: give a file with labelled texts"):
        read_text(written(tmp_path, data))


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    with pytest.raises(FileUnreadable, match=r"gone\.csv does not exist: check its path"):
        read_text(tmp_path / "gone.csv")
    with pytest.raises(FileUnreadable, match="is a directory: name one file in it"):
        read_text(tmp_path)


def test_a_path_below_a_file_does_not_exist(tmp_path):
    with pytest.raises(FileUnreadable, match="does not exist"):
        read_text(written(tmp_path, b"text\n") / "inner.csv")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("素晴らしい映画でした、また見たいと思います", "shift_jis"),
        ("素晴らしい映画でした、また見たいと思います", "euc_jp"),
        ("这部电影非常好看，我很喜欢，推荐大家去看", "gb2312"),
    ],
)
def test_chinese_and_japanese_bytes_are_refused_and_not_read_as_something_else(tmp_path, text, encoding):
    file = written(tmp_path, f"text,label\n{text},1\n".encode(encoding))
    with pytest.raises(FileUnreadable, match="save it as UTF-8"):
        read_text(file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
def test_the_encoding_of_a_long_file_is_found_wherever_the_sample_ends(before, encoding):
    """The first mebibyte may end within a letter or between two surrogates, and the file may have no line end."""
    letters = "정말재미있어요" if encoding == "cp949" else "정말재미있어요😀"
    assert encoding_of(Path("long.json"), io.BytesIO((before + letters * 100_000).encode(encoding))) == encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("отличный фильм, мне очень понравилось", "cp1251"), ("πολύ καλή ταινία, μου άρεσε", "cp1253"), ("סרט מצוין, אהבתי מאוד", "cp1255")],
)
def test_letters_of_another_alphabet_are_not_read_as_western(tmp_path, text, encoding):
    with pytest.raises(FileUnreadable, match="is neither UTF-8, UTF-16, cp949 nor cp1252 text"):
        read_text(written(tmp_path, f"text,label\n{text},1\n".encode(encoding)))
