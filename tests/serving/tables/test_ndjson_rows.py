"""Tests that NDJSON comes back with its answers, in any chunks, and that a bad line is an error of that line only."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.tables import ndjson_rows
from serving.tables.columns import named_columns
from serving.tables.formats import rows_of
from serving.tables.labelled import Columns
from serving.tables.rows import MAX_COLUMNS, Answer
from tests.serving.tables.reading import CUTS, chunks, read

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(
    objects=st.lists(st.dictionaries(st.sampled_from(["text", "b", "라벨"]), JSON_VALUES), max_size=5),
    line_end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    escaped=st.booleans(),
    cuts=CUTS,
)
def test_any_objects_come_back_with_their_answer(objects: list[dict[str, Any]], line_end: str, escaped: bool, cuts: list[int]) -> None:
    lines = [json.dumps(row, ensure_ascii=escaped) for row in objects]
    rows = rows_of("ndjson", "text")
    found, error = read(rows, chunks(line_end.join(lines).encode("utf-8", "surrogatepass"), cuts))
    assert error is None
    assert [row.text for row in found] == [row.get("text") for row in objects]
    assert [row.problem is None for row in found] == ["text" in row for row in objects]
    written = b"".join(rows.line(row, Answer("LABEL_0", 0.25, None)) for row in found).decode()
    assert [json.loads(line) for line in written.split("\n")[:-1]] == [{**row, "label": "LABEL_0", "score": 0.25} for row in objects]


def test_bad_line_is_an_error_of_that_line_only() -> None:
    lines = ["{}", "[1]", '"text"', '{"text": NaN}', '{"text": ', "[" * 100_000, '{"text": "\\ud800"}', '{"text": 7}', "{" + "}" * 9]
    rows = rows_of("ndjson", "text")
    found, error = read(rows, ["\n".join([*lines, '{"text": "good"}']).encode()])
    assert error is None
    problems = [row.problem for row in found]
    not_json = "the line is not JSON: write one object per line"
    assert problems[:6] == [
        "the line does not have the key of the text: add it, or name another column",
        *["the line is not a JSON object: write one per line"] * 2,
        *[not_json] * 3,
    ]
    assert problems[6:] == [None, None, not_json, None]
    assert [row.text for row in found[6:8]] == ["\ud800", 7]
    assert rows.line(found[6], Answer(None, None, "why")) == b'{"text": "\\ud800", "error": "why"}\n'
    assert rows.line(found[3], Answer(None, None, "why")) == b'{"error": "why"}\n'


@pytest.mark.parametrize(
    ("first", "key"), [({"id": "1", "Text": "good"}, "Text"), ({"id": 7, "review": "good"}, "review"), ({"id": 7, "said": "good"}, "said")]
)
def test_key_of_the_texts_is_found_in_the_first_object_that_has_one(first: dict[str, object], key: str) -> None:
    rows = rows_of("ndjson")
    found, _ = read(rows, [f'{{"id": 1}}\n{json.dumps(first)}\n{{"{key}": "bad"}}\n'.encode()])
    assert [row.text for row in found] == [None, "good", "bad"]
    assert rows.column == key


@pytest.mark.parametrize(
    ("first", "key"),
    [
        ({"text": None, "who": "Kim Maximilian"}, "text"),
        ({"user": "Kim Min", "review": "10/10"}, "review"),
        ({"id": 0, "review": {"text": "nested"}, "label": "positive"}, "review"),
        ({"id": 0, "remark": "what I wanted to say", "sentiment": "positive and then some more words"}, "remark"),
    ],
    ids=["sure name without a value", "known name", "nested text", "longer label"],
)
def test_key_goes_by_its_name_and_is_never_that_of_the_labels(first: dict[str, object], key: str) -> None:
    rows = ndjson_rows.NdjsonRows("auto", "utf-8")
    list(rows.feed((json.dumps(first) + "\n").encode()))
    assert rows.column == key


def test_key_is_sought_among_the_first_keys_of_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(file: Path, header: list[str], *rest: Any) -> Columns:
        sizes.append(len(header))
        return named_columns(file, header, *rest)

    monkeypatch.setattr(ndjson_rows, "named_columns", counted)
    many = json.dumps({f"{number}t": 0 for number in range(60_000)})
    found, error = read(rows_of("ndjson"), [f'{many}\n{{"said": "good"}}\n'.encode()])
    assert ([row.text for row in found], error) == ([None, "good"], None)
    assert sizes == [MAX_COLUMNS, 1]
