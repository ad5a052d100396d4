"""The columns of text and label are found, or the error names the found columns and the param to set."""

import json
from pathlib import Path

import pandas as pd
import pytest

from serving.tables import errors
from serving.tables.columns import NO_TEXTS, named_columns
from stages.shared.errors import FileUnreadable
from stages.shared.sources.errors import ColumnMissing
from stages.shared.sources.source import Source
from stages.shared.sources.tables import LIST_SEPARATOR, ReadOptions
from tests.stages.shared.sources.reading import rows, written


def test_a_missing_column_is_refused_with_the_found_columns_and_the_param(tmp_path):
    with pytest.raises(
        ColumnMissing, match=r"no column 'label' \(found: 'text', 'stars'\): name the right one in preprocess\.label_column"
    ):
        rows(written(tmp_path, "text,stars\nfine,5\n"), label_column="label")


def test_a_git_lfs_pointer_instead_of_the_data_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "utf-8")
    with pytest.raises(ColumnMissing, match=r"has no column of labels .*: name it in preprocess\.label_column"):
        rows(tmp_path / "a.csv")


def spread(*rows: str, times: int = 12) -> str:
    """Return the rows again and again, each with a number in its text."""
    return "".join(row.replace("#", str(number)) + "\n" for number in range(times) for row in rows)


@pytest.mark.parametrize(
    ("header", "lines", "labels", "text", "label"),
    [
        ("id,airline_sentiment,text,is_retweet", ["1#,negative,late # again,0", "2#,neutral,on time #,0"], ["negative", "positive"], 2, 1),
        ("id,is_new,reviewBody,customerRating", ["1#,0,fine #,5", "2#,1,bad #,1"], ["1", "5"], 2, 3),
        ("번호,작성글,감정_대분류", ["1#,정말 좋아요 #,기쁨", "2#,너무 싫어요 #,슬픔"], ["기쁨", "슬픔"], 1, 2),
        ("comments,bias,hate", ["you all # again,no,none", "nice #,yes,hate"], ["none", "hate"], 0, 2),
        ("sentiment,emotion,text", ["joyful,positive,fine #", "sad,negative,bad #"], ["negative", "positive"], 2, 1),
        ("label,score,text", ["negative,0,bad #", "positive,1,fine #"], ["negative", "positive"], 2, 0),
    ],
)
def test_names_win_over_values(tmp_path: Path, header: str, lines: list[str], labels: list[str], text: int, label: int) -> None:
    names = header.split(",")
    read = named(written(tmp_path, f"{header}\n{spread(*lines)}"), labels)
    assert read == (names[text], names[label])
    records = [dict(zip(names, line.split(","), strict=True)) for line in spread(*lines).splitlines()]
    jsonl = written(tmp_path, "".join(json.dumps(record) + "\n" for record in records), "texts.jsonl")
    assert named(jsonl, labels) == read


def named(file: Path, labels: list[str]) -> tuple[str, str]:
    """Read a file; return the names of the columns of text and label."""
    source = Source(file, ReadOptions(labels.__contains__), optional=False)
    assert sum(1 for _ in source.rows()) == 24
    return source.facts.text_column[0], source.facts.label_column[0]


@pytest.mark.parametrize("name", ["texts.csv", "texts.jsonl"])
def test_several_columns_that_may_be_the_label_are_asked_about(tmp_path: Path, name: str) -> None:
    records = [{"what": f"fine {number}", "sentiment": "good", "emotion": "joy"} for number in range(12)]
    lines = [json.dumps(record) for record in records]
    if name.endswith(".csv"):
        lines = ["what,sentiment,emotion", *(",".join(record.values()) for record in records)]
    file = written(tmp_path, "\n".join(lines), name)
    with pytest.raises(FileUnreadable, match="several columns that may be the label: 'sentiment' and 'emotion': name the right one"):
        rows(file)
    assert len(rows(file, label_column="emotion")) == 12


def test_first_row_with_the_name_that_the_user_gave_is_a_header(tmp_path: Path) -> None:
    file = written(tmp_path, "words\tbias\thate\n" + spread("you all #\tno\t0", "nice #\tyes\t1"), "texts.tsv")
    assert rows(file, label_column="hate", text_column="words")[0] == ("you all 0", "0")


def test_two_column_numbers_say_that_there_is_no_header(tmp_path: Path) -> None:
    file = written(tmp_path, "text,label\nfine,1\n")
    assert rows(file, text_column="0", label_column="1") == [("text", "label"), ("fine", "1")]


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("12345678901234567#", "numbers"),
        ("2024-01-1# 10:2#:00", "dates"),
        ("https://example.org/#", "links"),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c33#", "ids"),
        ("no comment", "one repeated value"),
    ],
)
def test_column_without_texts_is_no_text_column(tmp_path: Path, value: str, held: str) -> None:
    for name, content in {
        "bare.tsv": spread(f"{value}\t0", f"{value}\t1"),
        "named.csv": "what,label\n" + spread(f"{value},0", f"{value},1"),
    }.items():
        with pytest.raises(FileUnreadable, match=rf"has no column of texts \('(0|what)' holds {held}\)"):
            rows(written(tmp_path, content, name))
    assert len(rows(tmp_path / "named.csv", text_column="what")) == 24


@pytest.mark.parametrize("name", ["texts.jsonl", "texts.json", "texts.parquet"])
def test_labels_of_a_list_are_several_labels(tmp_path: Path, name: str) -> None:
    records = [{"text": f"fine {number}", "label": [1, 0] if number % 2 else [1]} for number in range(4)]
    if name == "texts.parquet":
        pd.DataFrame(records).to_parquet(tmp_path / name)
    else:
        content = json.dumps(records) if name == "texts.json" else "".join(json.dumps(record) + "\n" for record in records)
        written(tmp_path, content, name)
    assert [label.split(LIST_SEPARATOR) for _, label in rows(tmp_path / name)] == [["1"], ["1", "0"]] * 2


@pytest.mark.parametrize(
    ("lines", "has_header"),
    [
        (["so it goes #\t0", "fine by me #\t1"], False),
        (["Great movie review #\tpositive", "no comment #\tnegative"], False),
        (["comment\t1", "fine by me #\t0"], False),
        (["what a day #\t positive", "no day #\t negative"], False),
        (["comments\tpositive", "fine by me #\tpositive", "bad for me #\tnegative"], True),
        (["words\tkind", "fine by me #\tpositive", "bad for me #\tnegative"], True),
    ],
)
@pytest.mark.parametrize("knows_labels", [True, False])
def test_first_row_is_a_header_or_data(tmp_path: Path, lines: list[str], has_header: bool, knows_labels: bool) -> None:
    head, *rest = lines if has_header else ["", *lines]
    file = written(tmp_path, (f"{head}\n" if head else "") + spread(*rest), "texts.tsv")
    is_label = {"0", "1", "positive", "negative"}.__contains__ if knows_labels else None
    options = ReadOptions(
        (lambda value: is_label(value.strip())) if is_label else None, header="yes" if lines[0] == "words\tkind" else "auto"
    )
    source = Source(file, options, optional=False)
    assert sum(1 for _ in source.rows()) == 24
    assert source.facts.header == ("yes" if has_header else "no",)


@pytest.mark.parametrize(("text", "label"), [("0", "1"), ("auto", "1"), ("0", "auto")])
def test_numbered_columns_of_a_file_without_a_header_lose_no_row(tmp_path: Path, text: str, label: str) -> None:
    file = written(tmp_path, spread("so it goes #\t0", "fine by me #\t1"), "texts.tsv")
    assert len(rows(file, text_column=text, label_column=label)) == 24
    named_file = written(tmp_path, "text\tlabel\n" + spread("so it goes #\t0", "fine by me #\t1"), "named.tsv")
    assert len(rows(named_file, text_column=text, label_column=label)) == (25 if "auto" not in (text, label) else 24)


def test_empty_column_is_no_text_column_if_another_holds_texts(tmp_path: Path) -> None:
    file = written(tmp_path, "text,comment,label\n" + spread(",so it goes #,0", ",fine by me #,1"))
    assert rows(file)[0] == ("so it goes 0", "0")


def test_column_without_a_name_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "text,\n" + spread("so it goes #,0", "fine by me #,1"))
    with pytest.raises(FileUnreadable, match="has no name for column 1 in its first row: name all columns there, and remove rows above"):
        rows(file)


def test_nested_values_are_no_candidates(tmp_path: Path) -> None:
    records = [{"meta": {"label": 1}, "what": f"fine {number}", "kind": number % 2} for number in range(24)]
    file = written(tmp_path, "".join(json.dumps(record) + "\n" for record in records), "texts.jsonl")
    assert rows(file)[1] == ("fine 1", "1")


def test_dates_and_ids_are_no_labels(tmp_path: Path) -> None:
    lines = [f"2024-01-0{1 + number % 3},mood {number % 2},what was said on day {number}" for number in range(24)]
    file = written(tmp_path, "day,mood_of,what_was_said\n" + "\n".join(lines))
    source = Source(file, ReadOptions(None), optional=False)
    assert sum(1 for _ in source.rows()) == 24
    assert source.facts.label_column == ("mood_of",)


@pytest.mark.parametrize(
    "value", ["+" + " " * 900_000 + "x", "7" + " " * 900_000 + "x", "1-" * 450_000 + " x", "a_" * 450_000, "1" * 900_000]
)
def test_patterns_of_values_that_are_no_texts_take_linear_time(value: str) -> None:
    """Match values of nearly a million characters: a quadratic pattern would not finish."""
    held = [name for name, pattern in NO_TEXTS.items() if pattern.fullmatch(value)]
    assert held == (["numbers", "ids"] if value.isdecimal() else [])


def test_column_among_very_many_is_found_in_linear_time() -> None:
    """Look at 100,000 names that all fit: a quadratic search would not finish."""
    names = [f"{number} text" for number in range(100_000)]
    options = ReadOptions(None, has_labels=False)
    assert named_columns(Path("-"), names, [["5"] * 99_999 + ["what a day"]], options).text == 99_999
    with pytest.raises(errors.FileUnreadable, match="has no column of texts"):
        named_columns(Path("-"), names, [["5"] * 100_000], options)
