"""A JSON list of any length is read in little memory, or refused with the number of the record."""

import gzip
import json
import tracemalloc

import pandas as pd
import pytest

from serving.tables import json_list
from stages.shared.errors import FileUnreadable
from stages.shared.sources.source import Source
from stages.shared.sources.tables import ReadOptions
from tests.serving.tables.test_records import RECORD_ROWS, RECORDS
from tests.stages.shared.sources.reading import LABELS, read, rows, written


def test_a_flat_json_list_becomes_a_table(tmp_path):
    facts = {"format": "json", "encoding": "utf-8", "text_column": "text", "label_column": "label"}
    for content in (json.dumps(RECORDS), json.dumps(RECORDS, indent=2), " \n" + json.dumps(RECORDS) + "\n "):
        assert read(written(tmp_path, content, "a.json")) == (RECORD_ROWS, facts)


FRAME = pd.DataFrame({"id": [7, 8], "text": ["fine", "좋지 않아요"], "label": [1, 0]})
OBJECTS = {
    "columns, as pandas writes by default": FRAME.to_json(force_ascii=False),
    "split": FRAME.to_json(orient="split"),
    "table": FRAME.to_json(orient="table"),
    "index": FRAME.to_json(orient="index"),
    "index of names": FRAME.set_index(pd.Index(["text", "b"])).to_json(orient="index"),
    "split of two levels": FRAME.set_axis(pd.MultiIndex.from_product([["a"], FRAME.columns]), axis=1).to_json(orient="split"),
    "split with described columns": json.dumps(
        {"columns": [{"name": "text", "type": "str"}, {"name": "label"}], "data": FRAME[["text", "label"]].to_numpy().tolist()}
    ),
    "columns beside records": json.dumps({"columns": ["text", "label"], "data": FRAME.to_dict("records")}),
    "data": json.dumps({"version": 1, "data": FRAME.to_dict("records"), "tags": ["a"]}, indent=2),
}


@pytest.mark.parametrize("content", OBJECTS.values(), ids=OBJECTS)
def test_an_object_that_holds_records_becomes_a_table(tmp_path, content):
    assert rows(written(tmp_path, content, "a.json")) == [("fine", "1"), ("좋지 않아요", "0")]


def test_columns_that_are_numbers_are_named_by_their_numbers(tmp_path):
    content = json.dumps({"columns": [0, 1], "data": [["fine", "1"], ["좋지 않아요", "0"]]})
    assert rows(written(tmp_path, content, "a.json"), text_column="0", label_column="1") == [("fine", "1"), ("좋지 않아요", "0")]


def test_one_record_of_an_index_is_read(tmp_path):
    assert rows(written(tmp_path, FRAME[:1].to_json(orient="index"), "a.json")) == [("fine", "1")]


@pytest.mark.parametrize(
    "content", ['{"a": 1}', "{}", '{"a": [{"text": "a"}], "b": [{"text": "b"}]}', '{"text": {"0": "a"}, "label": {"1": 1}}']
)
def test_another_object_is_refused(tmp_path, content):
    with pytest.raises(FileUnreadable, match="holds a JSON object, not a list of records"):
        rows(written(tmp_path, content, "a.json"))


def test_a_json_list_is_read_with_any_size_of_chunk(tmp_path, monkeypatch):
    content = json.dumps([*RECORDS, {"text": "크고 😀", "label": -12.5e3, "n": [[], {}, [1, {"a": "]"}]]}], ensure_ascii=False, indent=1)
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr(json_list, "CHUNK", size)
        assert rows(written(tmp_path, content, "a.json")) == [*RECORD_ROWS, ("크고 😀", "-12500")]


@pytest.mark.parametrize("packed", [False, True])
def test_a_long_json_list_is_read_in_little_memory(tmp_path, packed):
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
        ('[{"text": "a", "label": 1}] [', "continues after the end of its JSON list"),
        ('{"text": "a", "label": 1}\n{"text": "b", "label": 0}', "holds a JSON object, not a list of records: rename it to .jsonl"),
        ('"text"', "it begins with"),
        ("<html>", "it begins with '<'"),
        ("[" * 100_000, "has too deeply nested brackets in record 1"),
        ("[7]", "no JSON object as record 1"),
        ('{"columns": ["text"], "data": [1, 2]}', "no JSON object as record 1"),
        (" ", "is empty"),
        ("[]", "has no records"),
    ],
    ids=[
        "open",
        "comma",
        "last comma",
        "cut off",
        "no comma",
        "text after",
        "lines",
        "string",
        "html",
        "deep",
        "number",
        "rows of numbers",
        "blank",
        "none",
    ],
)
def test_a_broken_json_list_is_refused(tmp_path, content, problem):
    with pytest.raises(FileUnreadable, match=problem):
        rows(written(tmp_path, content, "a.json"))


def test_a_record_without_an_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_list, "CHUNK", 100)
    monkeypatch.setattr(json_list, "MAX_CHARACTERS", 1_000)
    with pytest.raises(FileUnreadable, match="has over 1,000 characters in record 1"):
        rows(written(tmp_path, '[{"text": "' + "a" * 9_000, "a.json"))


def test_a_number_of_thousands_of_digits_is_refused(tmp_path):
    with pytest.raises(FileUnreadable, match="is not complete JSON"):
        rows(written(tmp_path, '[{"text": "a", "label": ' + "1" * 5_000 + "}]", "a.json"))
