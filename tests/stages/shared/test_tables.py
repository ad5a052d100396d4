"""Users' tables are read whole and as text, or refused with the place; splits come back as they were written."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from stages.shared.errors import ColumnMissing, SourceUnreadable
from stages.shared.tables import read_source, read_split, records_table, write_splits

WANTED = {"text": "preprocess.text_column", "label": "preprocess.label_column"}
DELIMITED = {"format": "delimited", "encoding": "utf-8", "separator": "comma", "quoting": "none needed"}


def source(folder: Path, content: str, name: str = "reviews.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode())
    return file


def rows(file: Path) -> list[tuple[str, str]]:
    columns = read_source(file, WANTED).columns
    return list(zip(columns["text"], columns["label"], strict=True))


@pytest.mark.parametrize(
    ("content", "name", "separator"),
    [
        ("text,label\nfine film,1\npoor film,0\n", "a.csv", "comma"),
        ("id,label,text\n1,1,fine film\n2,0,poor film\n", "a.CSV", "comma"),
        ("text\tlabel\nfine film\t1\npoor film\t0\n", "a.tsv", "tab"),
        ("text\tlabel\nfine film\t1\npoor film\t0", "a.txt", "tab"),
        ("text;label\nfine film;1\npoor film;0\n", "a.csv", "semicolon"),
        ("text,label\r\nfine film,1\r\npoor film,0\r\n", "a.csv", "comma"),
        ("text,label\rfine film,1\rpoor film,0\r", "a.csv", "comma"),
        ("\n\ntext,label\n\nfine film,1\n\n\npoor film,0\n\n", "a.csv", "comma"),
        ("\ufefftext , label\nfine film,1\npoor film,0\n", "a.csv", "comma"),
        ('"text","label"\n"fine film","1"\n"poor film","0"\n', "a.csv", "comma"),
    ],
    ids=["csv", "order", "tsv", "no last line end", "semicolon", "crlf", "cr", "blank lines", "mark and blanks", "quoted"],
)
def test_delimited_files_are_read_whatever_their_separator_and_line_ends(tmp_path, content, name, separator):
    file = source(tmp_path, content, name)
    assert rows(file) == [("fine film", "1"), ("poor film", "0")]
    assert read_source(file, WANTED).facts["separator"] == separator


def test_texts_that_look_like_numbers_or_nothing_stay_texts(tmp_path):
    texts = ["NA", "null", "None", "007", "1e5", "nan", "-", "TRUE", " padded "]
    assert rows(source(tmp_path, "text,label\n" + "".join(f"{text},01\n" for text in texts))) == [(text, "01") for text in texts]


def test_quoted_texts_keep_separators_quotes_and_line_ends(tmp_path):
    file = source(tmp_path, 'text,label\n"good, ""very"" good\nreally\r\nyes",1\nplain,0\n')
    assert rows(file) == [('good, "very" good\nreally\r\nyes', "1"), ("plain", "0")]
    assert read_source(file, WANTED).facts == {**DELIMITED, "quoting": "csv"}


def test_other_unicode_line_ends_do_not_end_a_row(tmp_path):
    assert rows(source(tmp_path, "text,label\na\u2028b\x85c\x0bd,1\n")) == [("a\u2028b\x85c\x0bd", "1")]


@pytest.mark.parametrize("content", ["text,label\nfine,1\na, b,0\n", "text,label\nfine,1\nonly a text\n"], ids=["too many", "too few"])
def test_a_ragged_row_is_named_by_its_line(tmp_path, content):
    with pytest.raises(SourceUnreadable, match=r"fields in line 3 where the header has 2: put a text that holds a comma in double quotes"):
        rows(source(tmp_path, content))


def test_line_numbers_count_the_lines_of_the_file_not_the_rows(tmp_path):
    with pytest.raises(SourceUnreadable, match="1 fields in line 5"):
        rows(source(tmp_path, 'text,label\n\n"two\nlines",1\nbroken\n'))


@pytest.mark.parametrize(
    "content",
    ['text,label\n"never closed,1\nfine,0\n', 'text,label\n"closed" too early,1\nfine,0\n', 'text;label\n"never closed;1\n'],
    ids=["open", "early", "semicolon"],
)
def test_broken_quotes_are_refused(tmp_path, content):
    with pytest.raises(SourceUnreadable, match=r"has broken quotes \(line \d.*close every quote"):
        rows(source(tmp_path, content))


@pytest.mark.parametrize(
    "texts",
    [['"never closed', "fine"], ['"closed" too early', "fine"], ['"opens here', 'closes there"'], ['a 5" phone', '"', '""']],
    ids=["open", "early", "across lines", "alone"],
)
def test_unquoted_tab_separated_texts_keep_their_quotes(tmp_path, texts):
    file = source(tmp_path, "text\tlabel\n" + "".join(f"{text}\t1\n" for text in texts), "reviews.tsv")
    assert [text for text, _ in rows(file)] == texts
    assert read_source(file, WANTED).facts["quoting"] == "quotes are characters"


def test_quoted_tab_separated_texts_are_unquoted(tmp_path):
    file = source(tmp_path, 'text\tlabel\n"a ""line"" end\nand\ta tab"\t1\nfine\t0\n', "reviews.tsv")
    assert rows(file) == [('a "line" end\nand\ta tab', "1"), ("fine", "0")]


def test_a_missing_column_names_the_found_ones_and_the_param(tmp_path):
    with pytest.raises(
        ColumnMissing, match=r"no column 'label' \(found: 'text', 'stars'\): name the right one in preprocess\.label_column"
    ):
        rows(source(tmp_path, "text,stars\nfine,5\n"))


@pytest.mark.parametrize(("content", "name"), [("text,label\n", "a.csv"), ("text\tlabel\n\n", "a.tsv"), ("text,label", "a.csv")])
def test_a_header_without_rows_is_refused(tmp_path, content, name):
    with pytest.raises(SourceUnreadable, match="has a header but no rows"):
        rows(source(tmp_path, content, name))


@pytest.mark.parametrize("name", ["reviews.xlsx", "reviews", "reviews.pdf"])
def test_an_unknown_file_type_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(SourceUnreadable, match=r"unknown file type '.*': give CSV, TSV, TXT, JSONL, Parquet or AI Hub JSON"):
        rows(source(tmp_path, "text,label\nfine,1\n", name))


RECORDS = [{"text": "fine, 'really'", "label": 1, "id": [7]}, {"text": "NA", "label": 1.0}, {"text": "좋아요", "label": True}]
RECORDS += [{"label": "positive", "text": "007"}, {"text": None, "label": 0.5}, {"text": "no class", "label": None}]
RECORD_ROWS = [("fine, 'really'", "1"), ("NA", "1"), ("좋아요", "1"), ("007", "positive"), ("", "0.5"), ("no class", "")]


def test_json_lines_are_read(tmp_path):
    lines = "\n\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)
    assert rows(source(tmp_path, lines + "\r\n", "a.jsonl")) == RECORD_ROWS
    assert rows(source(tmp_path, lines, "a.ndjson")) == RECORD_ROWS


def test_a_flat_json_list_becomes_a_table():
    table = records_table(Path("a.json"), RECORDS, WANTED, {"format": "json"})
    assert list(zip(*table.columns.values(), strict=True)) == RECORD_ROWS
    assert table.facts == {"format": "json"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is broken in line 2"),
        ("[" * 100_000, "is broken in line 2"),
        ("7", "no JSON object as record 2"),
        ('{"text": ["a"], "label": 1}', "nested value in 'text' of record 2"),
        ('{"text": "a"}', "has no 'label' in record 2: add it, or remove the record"),
    ],
    ids=["cut off", "deep", "number", "nested", "missing"],
)
def test_a_broken_json_line_is_named(tmp_path, line, problem):
    file = source(tmp_path, '{"text": "fine", "label": 1}\n' + line + "\n", "a.jsonl")
    with pytest.raises((SourceUnreadable, ColumnMissing), match=problem):
        rows(file)


def test_numbers_without_an_end_are_labels_like_others(tmp_path):
    assert rows(source(tmp_path, '{"text": "a", "label": Infinity}\n{"text": "b", "label": NaN}\n', "a.jsonl")) == [("a", "inf"), ("b", "")]


@pytest.mark.parametrize(
    ("labels", "read"),
    [
        ([1, 0, 1], "101"),
        ([1.0, 0.0, None], ["1", "0", ""]),
        ([1.0, math.inf, math.nan], ["1", "inf", ""]),
        (["b", None, "1.0"], ["b", "", "1.0"]),
    ],
    ids=["int", "float", "infinite", "text"],
)
def test_parquet_labels_are_read_as_text(tmp_path, labels, read):
    file = tmp_path / "reviews.parquet"
    pd.DataFrame({"other": 0, "text": ["007", "NA", "좋아요"], "label": labels}).to_parquet(file)
    assert rows(file) == list(zip(["007", "NA", "좋아요"], read, strict=True))


def test_parquet_that_cannot_be_read_is_refused(tmp_path):
    pd.DataFrame({"text": ["a"], "stars": [1]}).to_parquet(tmp_path / "columns.parquet")
    pd.DataFrame({"text": [], "label": []}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "folder.parquet").mkdir()
    for file, problem in {
        source(tmp_path, "text,label\nfine,1\n", "csv.parquet"): "is not a Parquet file",
        source(tmp_path, "", "empty.parquet"): "is not a Parquet file",
        tmp_path / "folder.parquet": "director",
        tmp_path / "gone.parquet": "does not exist",
        tmp_path / "columns.parquet": r"no column 'label' \(found: 'text', 'stars'\)",
        tmp_path / "rows.parquet": "has a header but no rows",
    }.items():
        with pytest.raises((SourceUnreadable, ColumnMissing), match=problem):
            rows(file)


def test_splits_come_back_as_they_were_written(tmp_path):
    texts = ['say "hi", twice', "two\nlines", "NA", "007", "", "null", "정말, 좋아요", "a\r\nb", "'", '"', "\ttab"]
    frames = {tmp_path / "deep" / name: pd.DataFrame({"label": range(11), "text": texts, "key": "x"}) for name in ("a.csv", "b.csv")}
    write_splits(frames)
    for file in frames:
        assert read_split(file).to_dict("list") == {"text": texts, "label": list(range(11))}
    assert sorted(file.name for file in (tmp_path / "deep").iterdir()) == ["a.csv", "b.csv"]


def test_blank_lines_are_no_rows(tmp_path):
    assert rows(source(tmp_path, "text,label\nfine,1\n   \nbad,0\n \t\n")) == [("fine", "1"), ("bad", "0")]


@pytest.mark.parametrize("text", [{"a": "fine"}, ["fine"]], ids=["struct", "list"])
def test_nested_parquet_is_refused(tmp_path, text):
    pd.DataFrame({"text": [text], "label": [1]}).to_parquet(tmp_path / "nested.parquet")
    with pytest.raises(SourceUnreadable, match="has a nested value in 'text' of row 1"):
        rows(tmp_path / "nested.parquet")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("text,label\n", "is no split with the columns"),
        ("text,stars\nfine,1\n", "is no split"),
        ("text,label\nfine,good\n", "is no split"),
        ("text,label\nfine,2\n", "has the class id 2 where there are 2 classes"),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path, content, problem):
    with pytest.raises(SourceUnreadable, match=problem):
        read_split(source(tmp_path, content), ("negative", "positive"))


def test_a_missing_split_names_the_stage_that_writes_it(tmp_path):
    with pytest.raises(SourceUnreadable, match="run `dvc repro preprocess`"):
        read_split(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("name", "text_column", "count"), [("sst2/train.tsv", "sentence", 67_349), ("nsmc/ratings_train.txt", "document", 150_000)]
)
def test_published_data_sets_are_read_whole(shared_data, name, text_column, count):
    columns = read_source(shared_data / name, {text_column: "", "label": ""}).columns
    assert len(columns[text_column]) == count
    assert set(columns["label"]) == {"0", "1"}


def test_published_sentences_with_stray_quotes_are_read_whole(tmp_path, shared_data):
    sentences = (shared_data / "uci/imdb_labelled.txt").read_text("utf-8")
    table = rows(source(tmp_path, "text\tlabel\n" + sentences, "imdb.tsv"))
    assert len(table) == 1_000
    assert {label for _, label in table} == {"0", "1"}


def test_rows_swallowed_by_a_stray_quote_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "stray.csv"
    file.write_text('text,label\nfine,1\n"Loved it,1\nbad film,0\nworse film,0\nthe end",1\nso so,0\n', "utf-8")
    with pytest.raises(SourceUnreadable, match="whole rows inside a quoted text that ends in line 6"):
        read_source(file, WANTED)


def test_a_text_of_several_lines_is_one_row(tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    file.write_text('text,label\n"Loved it,\nreally, truly,\nthe end",1\nbad,0\n', "utf-8")
    assert read_source(file, WANTED).columns["text"] == ["Loved it,\nreally, truly,\nthe end", "bad"]
