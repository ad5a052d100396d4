"""Delimited files are read without loss in any dialect, or refused with the line."""

import tracemalloc
from pathlib import Path

import pytest

from serving.tables import csv_records
from stages.shared.errors import FileUnreadable
from stages.shared.sources.source import Source
from stages.shared.sources.tables import ReadOptions
from tests.stages.shared.sources.reading import assert_refused, facts, rows, written


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
def test_delimited_files_are_read_with_any_separator_and_line_end(tmp_path, content, name, separator):
    file = written(tmp_path, content, name)
    assert rows(file) == [("fine film", "1"), ("poor film", "0")]
    assert facts(file)["separator"] == separator


def test_texts_that_look_like_numbers_or_missing_values_stay_texts(tmp_path):
    texts = ["NA", "null", "None", "007", "1e5", "nan", "-", "TRUE", " padded "]
    assert rows(written(tmp_path, "text,label\n" + "".join(f"{text},01\n" for text in texts))) == [(text, "01") for text in texts]


def test_quoted_texts_keep_separators_quotes_and_line_ends(tmp_path):
    file = written(tmp_path, 'text,label\n"good, ""very"" good\nreally\r\nyes",1\nplain,0\n')
    assert rows(file) == [('good, "very" good\nreally\r\nyes', "1"), ("plain", "0")]
    assert facts(file)["quoting"] == "csv"


def test_other_unicode_line_ends_do_not_end_a_row(tmp_path):
    assert rows(written(tmp_path, "text,label\na\u2028b\x85c\x0bd,1\n")) == [("a\u2028b\x85c\x0bd", "1")]


@pytest.mark.parametrize("content", ["text,label\nfine,1\na, b,0\n", "text,label\nfine,1\nonly a text\n"], ids=["too many", "too few"])
def test_a_row_with_another_number_of_fields_is_refused_with_its_line(tmp_path, content):
    with pytest.raises(FileUnreadable, match=r"1 rows .* is not 2; they end in line 3: put each text with a comma into double quotes"):
        rows(written(tmp_path, content))


def test_line_numbers_count_lines_of_the_file_and_not_rows(tmp_path):
    with pytest.raises(FileUnreadable, match="they end in line 5"):
        rows(written(tmp_path, 'text,label\n\n"two\nlines",1\nbroken\n'))


def test_blank_lines_are_not_rows(tmp_path):
    assert rows(written(tmp_path, "text,label\nfine,1\n   \nbad,0\n \t\n")) == [("fine", "1"), ("bad", "0")]


@pytest.mark.parametrize(
    "content",
    ['text,label\n"never, closed,1\nfine,0\n', 'text,label\n"closed" too, early,1\nfine,0\n', '"text";"label"\n"a "b" c";"1"\n'],
    ids=["open", "early", "wrapped"],
)
def test_broken_quotes_are_refused(tmp_path, content):
    with pytest.raises(FileUnreadable, match=r"has broken quotes \(line \d.*close every quote"):
        rows(written(tmp_path, content))


@pytest.mark.parametrize(
    "texts",
    [['"never closed', "fine"], ['"closed" too early', "fine"], ['"opens here', 'closes there"'], ['a 5" phone', '"', '""']],
    ids=["open", "early", "across lines", "alone"],
)
def test_unquoted_texts_keep_their_quotes(tmp_path, texts):
    for separator in "\t;":
        file = written(tmp_path, f"text{separator}label\n" + "".join(f"{text}{separator}1\n" for text in texts))
        assert [text for text, _ in rows(file)] == texts
        assert facts(file)["quoting"] == "none"


def test_quoted_tab_separated_texts_are_unquoted(tmp_path):
    file = written(tmp_path, 'text\tlabel\n"a ""line"" end\nand\ta tab"\t1\nfine\t0\n', "reviews.tsv")
    assert rows(file) == [('a "line" end\nand\ta tab', "1"), ("fine", "0")]


def test_a_text_of_several_lines_is_one_row(tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    file.write_text('text,label\n"Loved it,\nreally, truly,\nthe end",1\nbad,0\n', "utf-8")
    assert rows(file) == [("Loved it,\nreally, truly,\nthe end", "1"), ("bad", "0")]


def test_a_stray_quote_in_a_file_without_quoting_swallows_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, 'text,label\nfine,1\n"Loved it,1\nbad film,0\nthe end",1\nso so,0\n')
    assert rows(file) == [("fine", "1"), ('"Loved it', "1"), ("bad film", "0"), ('the end"', "1"), ("so so", "0")]


def test_rows_swallowed_by_a_stray_quote_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "stray.csv"
    file.write_text('text,label\n"fine, really",1\n"Loved it,1\nbad film,0\nworse film,0\nthe end",1\nso so,0\n', "utf-8")
    with pytest.raises(FileUnreadable, match="complete rows inside a quoted text that ends in line 6"):
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
def test_rows_inside_a_quoted_text_are_found_at_any_cut(tmp_path: Path, content: str) -> None:
    with pytest.raises(FileUnreadable, match="complete rows inside a quoted text"):
        rows(written(tmp_path, content))


@pytest.mark.parametrize(("name", "longest", "over"), [("nsmc/ratings_train.txt", 142, 1), ("nsmc/ratings_test.txt", 140, 0)])
def test_a_file_that_was_quoted_twice_loses_both_layers_of_quotes(shared_data, name, longest, over):
    lengths = [len(text) for text, _ in rows(shared_data / name)]
    assert (max(lengths), sum(length > 140 for length in lengths)) == (longest, over)


def test_a_broken_byte_after_the_sample_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + "좋은 영화,1\n".encode() * 200_000 + b"bad \xff,1\n")
    assert_refused(tmp_path / "a.csv", "is not utf-8 throughout")


def test_a_row_of_too_many_lines_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "MAX_CHARACTERS", 10_000)
    (tmp_path / "a.csv").write_text('text,label\n"' + "a line\n" * 2_000 + '",1\n', "utf-8")
    assert_refused(tmp_path / "a.csv", "has a row of over 10,000 characters")


def test_a_line_without_an_end_is_refused_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "MAX_CHARACTERS", 2**20)
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


@pytest.mark.parametrize(
    ("content", "titles"),
    [
        ("Reviews of 2024\n\ntext,label\ngood,1\nbad,0\n", 1),
        ("Reviews of 2024,\nby Kim,\ntext,label\ngood,1\nbad,0\n", 2),
        ("Reviews, of, 2024\ntext,label\ngood,1\nbad,0\n", 1),
        ("Reviews, of 2024\ntext;label\ngood;1\nbad;0\n", 1),
        ("Reviews of 2024,,\n,,\nid,text,label\n1,good,1\n2,bad,0\n", 2),
        (",\ntext,label\ngood,1\nbad,0\n", 1),
        ("text,label\ngood,1\nbad,0\n", 0),
    ],
)
def test_title_rows_above_the_header_are_left_out_and_counted(tmp_path, content, titles):
    file = written(tmp_path, content)
    assert rows(file) == [("good", "1"), ("bad", "0")]
    assert facts(file).get("title_rows", "0") == str(titles)


def test_rows_without_a_label_in_a_file_without_a_header_are_no_titles(tmp_path):
    file = written(tmp_path, "a long film,\na good film,1\na bad film,0\na fine film,1\n")
    assert [label for _, label in rows(file, header="no", text_column="0", label_column="1")] == ["", "1", "0", "1"]


def test_backslashes_before_quotes_are_read_as_mysql_writes_them(tmp_path):
    lines = [r'"she said \"good\", twice","1"', r'"ends with a backslash \\","0"', '"two\\\nlines","1"', r'"a \n stays","0"']
    file = written(tmp_path, "text,label\n" + "\n".join(lines) + "\n")
    texts = ['she said "good", twice', "ends with a backslash \\", "two\nlines", r"a \n stays"]
    assert [text for text, _ in rows(file)] == texts
    assert facts(file)["quoting"] == "backslash"
    assert [text for text, _ in rows(file, quoting="backslash")] == texts


def test_a_backslash_at_the_end_of_a_quoted_text_is_a_character(tmp_path):
    file = written(tmp_path, 'text,label\n"C:\\dir\\",1\n"plain",0\n')
    assert rows(file) == [("C:\\dir\\", "1"), ("plain", "0")]
    assert facts(file)["quoting"] == "csv"


REMEDIES = {  # content, sentence, options that the sentence names or the content that it asks for
    "broken quotes": ('text,label\n"a",1\n"b",0\n"c"d",0\n', "set preprocess.quoting to none", {"quoting": "none"}),
    "quotes to double": ('text,label\n"a",1\n"b",0\n"c"d",0\n', "double the quotes", 'text,label\n"a",1\n"b",0\n"c""d",0\n'),
    "more columns than names": ("text\ngood,1\nbad,0\n", "name all columns in the first row", "text,label\ngood,1\nbad,0\n"),
    "no labels": ("text,b\nwhat a day,x\na film,y\n", r"name it in preprocess\.label_column", {"label_column": "b"}),
    "numbers": ("id,label\n1,1\n2,0\n", r"name the column in preprocess\.text_column", {"text_column": "id"}),
    "extra fields": ("text,label\na, b,1\nbad,0\n", "put each text with a comma into double quotes", 'text,label\n"a, b",1\nbad,0\n'),
    "no name for a column": ("text,\ngood,1\nbad,0\n", "name all columns there", "text,label\ngood,1\nbad,0\n"),
    "two of a name": ("text,label,label\ngood,1,1\nbad,0,0\n", "rename or remove one of them", "text,label\ngood,1\nbad,0\n"),
    "swallowed rows": (
        'text,label\n"fine, really",1\n"Loved it,1\nbad film,0\nthe end",1\n',
        "double the quotes that are part of a text",
        'text,label\n"fine, really",1\n"""Loved it",1\nbad film,0\n"the end""",1\n',
    ),
}


@pytest.mark.parametrize(("content", "sentence", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_remedy_that_a_sentence_names_reads_the_file(tmp_path, content, sentence, remedy):
    file = written(tmp_path, content)
    assert_refused(file, sentence)
    if isinstance(remedy, str):
        file, remedy = written(tmp_path, remedy), {}
    assert len(rows(file, **remedy)) >= 2


def test_numbers_of_columns_read_a_file_without_a_header(tmp_path):
    file = written(tmp_path, "what a day,1\nwhat a film,0\n")
    with pytest.raises(FileUnreadable, match="has no header: give the numbers of its columns, from 0"):
        rows(file, text_column="review")
    assert rows(file, text_column="0", label_column="1") == [("what a day", "1"), ("what a film", "0")]


@pytest.mark.parametrize("header", ["", "said,kind\n"])
def test_a_file_that_is_sorted_by_label_is_looked_at_as_a_whole(tmp_path, header):
    lines = [f"what a {word} day number {number},{word}\n" for word in ("bad", "fine", "good") for number in range(2_000)]
    file = written(tmp_path, header + "".join(lines))
    source = Source(file, ReadOptions(None), optional=False)
    found = list(source.rows())
    assert len(found) == len(lines)
    assert {row.label for row in found} == {"bad", "fine", "good"}
    assert source.facts.header == ("yes" if header else "no",)
