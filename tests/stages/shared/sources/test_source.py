"""Users' files are read whole and as text, with all that was found out about them, or refused with the place."""

import gzip
import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from stages.shared.errors import FileUnreadable
from stages.shared.sources import json_list
from stages.shared.sources.errors import ColumnMissing
from stages.shared.sources.rows import ReadOptions
from stages.shared.sources.source import Source

LABELS = {"0", "1", "01", "positive", "negative"}


def source(folder: Path, content: str | bytes, name: str = "reviews.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def read(file: Path, **how: Any) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The texts and labels of a source, and the facts of how it was read."""
    found = Source(file, ReadOptions(LABELS.__contains__, **how), optional=False)
    return [(row.text, row.label) for row in found.rows()], found.facts


def rows(file: Path, **how: Any) -> list[tuple[str, str]]:
    return read(file, **how)[0]


def facts(file: Path, **how: Any) -> dict[str, str]:
    return read(file, **how)[1]


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
    assert facts(file)["separator"] == separator


def test_texts_that_look_like_numbers_or_nothing_stay_texts(tmp_path):
    texts = ["NA", "null", "None", "007", "1e5", "nan", "-", "TRUE", " padded "]
    assert rows(source(tmp_path, "text,label\n" + "".join(f"{text},01\n" for text in texts))) == [(text, "01") for text in texts]


def test_quoted_texts_keep_separators_quotes_and_line_ends(tmp_path):
    file = source(tmp_path, 'text,label\n"good, ""very"" good\nreally\r\nyes",1\nplain,0\n')
    assert rows(file) == [('good, "very" good\nreally\r\nyes', "1"), ("plain", "0")]
    assert facts(file)["quoting"] == "csv"


def test_other_unicode_line_ends_do_not_end_a_row(tmp_path):
    assert rows(source(tmp_path, "text,label\na\u2028b\x85c\x0bd,1\n")) == [("a\u2028b\x85c\x0bd", "1")]


@pytest.mark.parametrize("content", ["text,label\nfine,1\na, b,0\n", "text,label\nfine,1\nonly a text\n"], ids=["too many", "too few"])
def test_a_ragged_row_is_named_by_its_line(tmp_path, content):
    with pytest.raises(FileUnreadable, match=r"1 rows .* than 2, which end in line 3: put a text that holds a comma in double quotes"):
        rows(source(tmp_path, content))


def test_line_numbers_count_the_lines_of_the_file_not_the_rows(tmp_path):
    with pytest.raises(FileUnreadable, match="which end in line 5"):
        rows(source(tmp_path, 'text,label\n\n"two\nlines",1\nbroken\n'))


@pytest.mark.parametrize(
    "content",
    ['text,label\n"never, closed,1\nfine,0\n', 'text,label\n"closed" too, early,1\nfine,0\n', '"text";"label"\n"a "b" c";"1"\n'],
    ids=["open", "early", "wrapped"],
)
def test_broken_quotes_are_refused(tmp_path, content):
    with pytest.raises(FileUnreadable, match=r"has broken quotes \(line \d.*close every quote"):
        rows(source(tmp_path, content))


@pytest.mark.parametrize(
    "texts",
    [['"never closed', "fine"], ['"closed" too early', "fine"], ['"opens here', 'closes there"'], ['a 5" phone', '"', '""']],
    ids=["open", "early", "across lines", "alone"],
)
def test_unquoted_texts_keep_their_quotes(tmp_path, texts):
    for separator in "\t;":
        file = source(tmp_path, f"text{separator}label\n" + "".join(f"{text}{separator}1\n" for text in texts))
        assert [text for text, _ in rows(file)] == texts
        assert facts(file)["quoting"] == "none"


def test_quoted_tab_separated_texts_are_unquoted(tmp_path):
    file = source(tmp_path, 'text\tlabel\n"a ""line"" end\nand\ta tab"\t1\nfine\t0\n', "reviews.tsv")
    assert rows(file) == [('a "line" end\nand\ta tab', "1"), ("fine", "0")]


def test_a_missing_column_names_the_found_ones_and_the_param(tmp_path):
    with pytest.raises(
        ColumnMissing, match=r"no column 'label' \(found: 'text', 'stars'\): name the right one in preprocess\.label_column"
    ):
        rows(source(tmp_path, "text,stars\nfine,5\n"), label_column="label")


@pytest.mark.parametrize(("content", "name"), [("text,label\n", "a.csv"), ("text\tlabel\n\n", "a.tsv"), ("text,label", "a.csv")])
def test_a_header_without_rows_is_refused(tmp_path, content, name):
    with pytest.raises(FileUnreadable, match="has a header but no rows"):
        rows(source(tmp_path, content, name))


@pytest.mark.parametrize("name", ["reviews.docx", "reviews", "reviews.pdf"])
def test_an_unknown_file_type_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(FileUnreadable, match=r"unknown file type '.*': give CSV, TSV, TXT, JSONL, JSON, Parquet or XLSX"):
        rows(source(tmp_path, "text,label\nfine,1\n", name))


RECORDS = [{"text": "fine, 'really'", "label": 1, "id": [7]}, {"text": "NA", "label": 1.0}, {"text": "좋아요", "label": True}]
RECORDS += [{"label": "positive", "text": "007"}, {"text": None, "label": 0.5}, {"text": "no class", "label": None}]
RECORD_ROWS = [("fine, 'really'", "1"), ("NA", "1"), ("좋아요", "1"), ("007", "positive"), ("", "0.5"), ("no class", "")]


def test_json_lines_are_read(tmp_path):
    lines = "\n\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)
    assert rows(source(tmp_path, lines + "\r\n", "a.jsonl")) == RECORD_ROWS
    assert rows(source(tmp_path, lines, "a.ndjson")) == RECORD_ROWS


def test_a_flat_json_list_becomes_a_table(tmp_path):
    facts = {"format": "json", "encoding": "utf-8", "text_column": "text", "label_column": "label"}
    for content in (json.dumps(RECORDS), json.dumps(RECORDS, indent=2), " \n" + json.dumps(RECORDS) + "\n "):
        assert read(source(tmp_path, content, "a.json")) == (RECORD_ROWS, facts)


def test_a_json_list_is_read_on_wherever_a_piece_of_it_ends(tmp_path, monkeypatch):
    content = json.dumps([*RECORDS, {"text": "크고 😀", "label": -12.5e3, "n": [[], {}, [1, {"a": "]"}]]}], ensure_ascii=False, indent=1)
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr(json_list, "CHUNK", size)
        assert rows(source(tmp_path, content, "a.json")) == [*RECORD_ROWS, ("크고 😀", "-12500")]


@pytest.mark.parametrize("packed", [False, True])
def test_a_json_list_is_not_in_memory_as_a_whole(tmp_path, packed):
    file = tmp_path / ("large.json.gz" if packed else "large.json")
    record = json.dumps({"text": "좋아요 " * 200, "label": 1}, ensure_ascii=False)
    with gzip.open(file, "wt", encoding="utf-8") if packed else file.open("w", encoding="utf-8") as out:
        out.write("[" + ",".join(f'{{"id": {number}, {record[1:]}' for number in range(20_000)) + "]")
    tracemalloc.start()
    assert sum(1 for _ in Source(file, ReadOptions(LABELS.__contains__), optional=False).rows()) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20, "of a file of 40 MB"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('[{"text": "a", "label": 1}', r"record 1 is not followed by , or \]"),
        ('[{"text": "a", "label": 1}, ', "record 2: Expecting value"),
        ('[{"text": "a", "label": 1},]', "record 2: Expecting value"),
        ('[{"text": "a", "label": 1}, {"text', "record 2: Unterminated string"),
        ('[{"text": "a", "label": 1} {"text": "b", "label": 1}]', r"record 1 is not followed by , or \]"),
        ('[{"text": "a", "label": 1}] [', "goes on after the end of its JSON list"),
        ('{"text": "a", "label": 1}\n{"text": "b", "label": 0}', "holds a JSON object, not a list of records: rename it to .jsonl"),
        ('"text"', "it begins with"),
        ("<html>", "it begins with '<'"),
        ("[" * 100_000, "has too many brackets in brackets in record 1"),
        ("[7]", "no JSON object as record 1"),
        (" ", "is empty"),
        ("[]", "has no records"),
    ],
    ids=["open", "comma", "last comma", "cut off", "no comma", "goes on", "lines", "string", "html", "deep", "number", "blank", "none"],
)
def test_a_broken_json_list_is_refused(tmp_path, content, problem):
    with pytest.raises(FileUnreadable, match=problem):
        rows(source(tmp_path, content, "a.json"))


def test_a_record_without_an_end_does_not_take_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_list, "CHUNK", 100)
    monkeypatch.setattr(json_list, "MAX_LINE", 1_000)
    with pytest.raises(FileUnreadable, match="has over 1,000 characters in record 1"):
        rows(source(tmp_path, '[{"text": "' + "a" * 9_000, "a.json"))


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
    with pytest.raises((FileUnreadable, ColumnMissing), match=problem):
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
    pd.DataFrame({"text": ["a"], "colour": [1]}).to_parquet(tmp_path / "columns.parquet")
    pd.DataFrame({"text": [], "label": []}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "folder.parquet").mkdir()
    for file, problem in {
        source(tmp_path, "text,label\nfine,1\n", "csv.parquet"): "cannot be read as Parquet",
        source(tmp_path, "", "empty.parquet"): "cannot be read as Parquet",
        tmp_path / "folder.parquet": "is an empty folder",
        tmp_path / "gone.parquet": "does not exist",
        tmp_path / "columns.parquet": r"no column 'label' \(found: 'text', 'colour'\)",
        tmp_path / "rows.parquet": "has a header but no rows",
    }.items():
        with pytest.raises((FileUnreadable, ColumnMissing), match=problem):
            rows(file)


def test_blank_lines_are_no_rows(tmp_path):
    assert rows(source(tmp_path, "text,label\nfine,1\n   \nbad,0\n \t\n")) == [("fine", "1"), ("bad", "0")]


@pytest.mark.parametrize("text", [{"a": "fine"}, ["fine"]], ids=["struct", "list"])
def test_nested_parquet_is_refused(tmp_path, text):
    pd.DataFrame({"text": [text], "label": [1]}).to_parquet(tmp_path / "nested.parquet")
    with pytest.raises(FileUnreadable, match="has a nested value in 'text' of row 1"):
        rows(tmp_path / "nested.parquet")


PUBLISHED = {
    "sst2/train.tsv": (67_349, "yes", "csv"),
    "sst2/dev.tsv": (872, "yes", "csv"),
    "nsmc/ratings_train.txt": (150_000, "yes", "twice"),
    "nsmc/ratings_test.txt": (50_000, "yes", "twice"),
    "uci/amazon_cells_labelled.txt": (1_000, "no", "csv"),
    "uci/imdb_labelled.txt": (1_000, "no", "none"),
    "uci/yelp_labelled.txt": (1_000, "no", "csv"),
}


@pytest.mark.parametrize(("name", "count", "header", "quoting"), [(name, *values) for name, values in PUBLISHED.items()])
def test_published_data_sets_are_read_whole(shared_data, name, count, header, quoting):
    table, found = read(shared_data / name)
    assert (len(table), found["header"]) == (count, header)
    assert {label for _, label in table} == {"0", "1"}
    assert found["quoting"] == quoting or not any('"' in text for text, _ in table)


@pytest.mark.parametrize(("name", "longest", "over"), [("nsmc/ratings_train.txt", 142, 1), ("nsmc/ratings_test.txt", 140, 0)])
def test_a_file_that_was_quoted_twice_is_unquoted_twice(shared_data, name, longest, over):
    lengths = [len(text) for text, _ in rows(shared_data / name)]
    assert (max(lengths), sum(length > 140 for length in lengths)) == (longest, over)


@pytest.mark.parametrize(("name", "count", "quotes"), [("train", 43_410, 1_097), ("dev", 5_426, 137), ("test", 5_427, 149)])
def test_several_labels_of_a_text_stay_as_they_stand(shared_data, name, count, quotes):
    ids = {str(number) for number in range(28)}
    found = Source(shared_data / f"goemotions/{name}.tsv", ReadOptions(lambda label: set(label.split(",")) <= ids), optional=False)
    table = list(found.rows())
    assert (len(table), sum('"' in row.text for row in table), found.facts["quoting"]) == (count, quotes, "csv")


def test_rows_swallowed_by_a_stray_quote_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "stray.csv"
    file.write_text('text,label\n"fine, really",1\n"Loved it,1\nbad film,0\nworse film,0\nthe end",1\nso so,0\n', "utf-8")
    with pytest.raises(FileUnreadable, match="whole rows inside a quoted text that ends in line 6"):
        rows(file)


@pytest.mark.parametrize(
    "content",
    [
        'text,label\r"q1","1"\r"q2","0"\r"open,1\rswallowed one,0\rswallowed two","0"\r',
        'label,text,n\n1,"open, really,90\n0,closing",91\n1,"fine, too",92\n0,bad,93\n',
        'text,label\n"fine, too",1\n"open,1\nand more","0"\n',
    ],
    ids=["CR", "last piece", "first piece"],
)
def test_rows_within_a_quoted_text_are_found_wherever_they_are_cut(tmp_path: Path, content: str) -> None:
    with pytest.raises(FileUnreadable, match="whole rows inside a quoted text"):
        rows(source(tmp_path, content))


def test_parquet_that_says_one_thing_twice_or_too_much_is_a_sentence(tmp_path: Path) -> None:
    twice = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array([1])], names=["text", "text", "label"])
    parquet.write_table(twice, tmp_path / "twice.parquet")
    late = pa.table({"text": ["a"], "label": pa.array([2**53], pa.timestamp("ms"))})
    parquet.write_table(late, tmp_path / "late.parquet")
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    parquet.write_table(pa.table({"text": broken, "label": [1]}), tmp_path / "broken.parquet")
    for name, problem in {"twice": "has the column 'text' more than once", "late": "cannot be read", "broken": "no UTF-8 text"}.items():
        with pytest.raises(FileUnreadable, match=problem):
            rows(tmp_path / f"{name}.parquet")


def test_a_number_of_thousands_of_digits_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="is no complete JSON"):
        rows(source(tmp_path, '[{"text": "a", "label": ' + "1" * 5_000 + "}]", "a.json"))


def test_a_stray_quote_in_a_file_without_quoting_swallows_nothing(tmp_path: Path) -> None:
    file = source(tmp_path, 'text,label\nfine,1\n"Loved it,1\nbad film,0\nthe end",1\nso so,0\n')
    assert rows(file) == [("fine", "1"), ('"Loved it', "1"), ("bad film", "0"), ('the end"', "1"), ("so so", "0")]


def test_a_text_of_several_lines_is_one_row(tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    file.write_text('text,label\n"Loved it,\nreally, truly,\nthe end",1\nbad,0\n', "utf-8")
    assert rows(file) == [("Loved it,\nreally, truly,\nthe end", "1"), ("bad", "0")]
