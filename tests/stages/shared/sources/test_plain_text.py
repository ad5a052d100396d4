"""Labels in names of files and folders, or in a file beside the texts, are read; what does not fit is refused with a way out."""

import gzip
from pathlib import Path

import pytest

from stages.shared.errors import FileUnreadable, StageError
from stages.shared.sources import plain_text
from stages.shared.sources.source import Source, has_no_rows
from stages.shared.sources.tables import ReadOptions
from tests.stages.shared.sources.reading import facts, read, rows, written


def folders(root: Path, files: dict[str, str]) -> Path:
    """Write files into folders; return the root."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return root


def beside(texts: Path, labels: Path, **options: str) -> list[tuple[str, str]]:
    source = Source(texts, ReadOptions(None, **options), optional=False, labels_file=labels)
    return [(row.text, row.label) for row in source.rows()]


def test_a_folder_for_each_class_has_one_text_in_each_file(tmp_path):
    folders(tmp_path, {"pos/2.txt": "good\n\nreally", "pos/10.txt": "fine", "neg/1.txt": "정말 싫어요\n"})
    assert rows(tmp_path, label_column="folder") == [("정말 싫어요\n", "neg"), ("fine", "pos"), ("good\n\nreally", "pos")]
    assert facts(tmp_path, label_column="folder") == {"format": "text", "encoding": "utf-8", "label_column": "folder"}


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("csv", "id,comment\n1,{0} day\n2,{0} film\n"),
        ("jsonl", '{{"comment": "{0} day"}}\n{{"comment": "{0} film"}}\n'),
        ("csv.gz", "{0} day\n{0} film\n"),
    ],
)
@pytest.mark.parametrize("place", ["folder", "file"])
def test_tables_in_folders_or_files_of_classes_need_no_label_column(tmp_path, ending, content, place):
    names = {"folder": "{0}/part." + ending, "file": "{0}." + ending}[place]
    folders(tmp_path, {names.format(label): content.format(word) for label, word in (("pos", "good"), ("neg", "bad"))})
    texts, found = read(tmp_path, label_column=place)
    assert texts == [("bad day", "neg"), ("bad film", "neg"), ("good day", "pos"), ("good film", "pos")]
    assert found["label_column"] == place


@pytest.mark.parametrize("names", [("reviews.pos", "reviews.neg"), ("pos.txt", "neg.txt"), ("pos.txt.gz", "neg.txt.gz"), ("pos", "neg")])
def test_a_file_for_each_class_has_one_text_on_each_line(tmp_path, names):
    folders(tmp_path, {names[0]: "good, really\nfine\n", names[1]: 'a "bad" film\r\n\r\npoor'})
    assert sorted(rows(tmp_path, label_column="file")) == [
        ("", "neg"),
        ('a "bad" film', "neg"),
        ("fine", "pos"),
        ("good, really", "pos"),
        ("poor", "neg"),
    ]


def test_lines_get_the_labels_of_another_file(tmp_path):
    texts, labels = written(tmp_path, "good, really\n\n정말 싫어요\n", "texts.txt"), written(tmp_path, "pos\nneg\nneg\n\n", "labels.txt")
    assert beside(texts, labels) == [("good, really", "pos"), ("", "neg"), ("정말 싫어요", "neg")]


@pytest.mark.parametrize(("texts", "labels"), [("a\nb\nc\n", "pos\nneg\n"), ("a\nb\n", "pos\nneg\npos\n")])
def test_another_number_of_labels_than_lines_is_refused_with_both_numbers(tmp_path, texts, labels):
    numbers = f"has {texts.count(chr(10))} texts, but .*labels.txt has {labels.count(chr(10))} lines: give one label for each text"
    with pytest.raises(FileUnreadable, match=numbers):
        beside(written(tmp_path, texts, "texts.txt"), written(tmp_path, labels, "labels.txt"))


def test_a_folder_is_refused_where_labels_are_those_of_one_file(tmp_path):
    folders(tmp_path, {"texts/a.txt": "good\nbad\n", "texts/b.txt": "fine\npoor\n", "labels/a.txt": "pos\nneg\n", "labels/b.txt": "pos\n"})
    for texts, labels, folder in [("texts", "labels/a.txt", "texts"), ("texts/a.txt", "labels", "labels"), ("texts", "labels", "texts")]:
        with pytest.raises(
            FileUnreadable, match=rf"/{folder} is a folder, but preprocess\.labels_source has the labels of one file: name one file$"
        ):
            beside(tmp_path / texts, tmp_path / labels)
    assert beside(tmp_path / "texts/a.txt", tmp_path / "labels/a.txt") == [("good", "pos"), ("bad", "neg")]


@pytest.mark.parametrize(
    ("content", "expected"), [("text,label\n", True), ("label\ttext\n", False), ("pos\n", False), ("", False), ("text,label\na,1\n", False)]
)
def test_only_a_header_of_text_and_label_says_that_there_is_no_file(tmp_path, content, expected):
    assert has_no_rows(written(tmp_path, content)) is expected
    assert not has_no_rows(tmp_path)


def test_labels_in_two_places_are_refused(tmp_path):
    with pytest.raises(StageError, match=r"set preprocess\.label_column to auto"):
        beside(written(tmp_path, "a\n", "texts.txt"), written(tmp_path, "pos\n", "labels.txt"), label_column="file")


def test_a_file_beside_the_folders_of_the_classes_is_refused(tmp_path):
    folders(tmp_path, {"pos/1.txt": "good", "neg/1.txt": "bad", "urls.txt": "no text"})
    with pytest.raises(FileUnreadable, match=r"holds urls.txt, which is no folder of a class \(label_column=folder\): move it away"):
        rows(tmp_path, label_column="folder")
    (tmp_path / "urls.txt").unlink()
    assert len(rows(tmp_path, label_column="folder")) == 2


def test_a_file_of_too_many_characters_is_no_text_but_may_have_one_on_each_line(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_text, "MAX_CHARACTERS", 100)
    folders(tmp_path, {"pos/pos.txt": "good film\n" * 20, "neg/neg.txt": "bad film\n" * 20})
    with pytest.raises(
        FileUnreadable, match=r"neg.txt has over 100 characters: give one text a file, or set preprocess\.label_column to file"
    ):
        rows(tmp_path, label_column="folder")
    assert len(rows(tmp_path / "pos", label_column="file")) == 20


def test_a_file_that_moves_to_another_class_changes_the_hash(tmp_path):
    def sha256() -> str:
        source = Source(tmp_path, ReadOptions(None, label_column="folder"), optional=False)
        assert list(source.rows())
        return source.sha256

    folders(tmp_path, {"pos/1.txt": "good", "neg/2.txt": "bad"})
    before = sha256()
    (tmp_path / "neg/2.txt").rename(tmp_path / "pos/2.txt")
    folders(tmp_path, {"neg/1.txt": "bad"})
    (tmp_path / "pos/1.txt").unlink()
    assert sha256() != before


def test_a_table_without_labels_names_the_other_places_for_them(tmp_path):
    folders(tmp_path, {"all/pos.csv": "id,comment\n1,what a day\n2,what a film\n", "all/neg.csv": "id,comment\n1,no day\n2,no film\n"})
    sentence = (
        r"neg.csv has no column of labels \(found: 'id', 'comment'\): name it in preprocess\.label_column; set that to file or folder "
        r"if those names are the labels, or name the file in preprocess\.labels_source that has a label for each text"
    )
    with pytest.raises(FileUnreadable, match=sentence):
        rows(tmp_path / "all")
    assert len(rows(tmp_path / "all", label_column="file")) == 4
    (tmp_path / "all").rename(tmp_path / "moved")
    folders(tmp_path, {"classes/pos/a.csv": "id,comment\n1,what a day\n", "classes/neg/a.csv": "id,comment\n1,no day\n"})
    with pytest.raises(FileUnreadable, match=r"has no header: give the numbers of its columns, from 0, in preprocess\.text_column$"):
        rows(folders(tmp_path, {"bare/pos.csv": "1,what a day\n2,what a film\n"}) / "bare", label_column="file", text_column="review")
    assert rows(tmp_path / "classes", label_column="folder") == [("no day", "neg"), ("what a day", "pos")]
    assert len(beside(tmp_path / "moved/pos.csv", written(tmp_path, "a\nb\n", "labels.txt"))) == 2
