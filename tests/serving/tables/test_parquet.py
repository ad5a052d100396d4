"""Tests that Parquet keeps its schema and gets the classifier's own answers, and what happens without pyarrow."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.tables.parquet import PYARROW
from tests.running import ROOT
from tests.serving.scoring import TEXTS, start


@pytest.mark.parametrize("text_type", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_parquet_keeps_its_schema_and_has_the_classifiers_own_answers(
    score: Callable[..., Any], answers: list[dict[str, Any]], tmp_path: Path, text_type: pa.DataType
) -> None:
    source, out = tmp_path / "a.parquet", tmp_path / "out.parquet"
    nested = pa.array([[{"x": number}] for number in range(len(TEXTS))] + [None])
    table = pa.table({"text": pa.array([*TEXTS, None]).cast(text_type), "nested": nested}).replace_schema_metadata({"mine": "yes"})
    parquet.write_table(table, source, row_group_size=3)
    done = score(source, out)
    assert done.returncode == 0, done.stderr
    found = parquet.read_table(out)
    assert found.select(["text", "nested"]).equals(table.combine_chunks())
    assert found.schema.metadata[b"mine"] == b"yes"
    assert [found.schema.field(name).type for name in ("label", "score", "error")] == [pa.string(), pa.float64(), pa.string()]
    no_text = {"label": None, "score": None, "error": "text is not a string: send it in quotes"}
    assert found.select(["label", "score", "error"]).to_pylist() == [*answers, no_text]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.parquet", "out.parquet"]


def test_parquet_without_pyarrow_names_the_command_that_installs_it(tiny_bundle: Path, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": ["good"]}), tmp_path / "a.parquet")
    without = "import sys; sys.modules['pyarrow'] = None; from serving import score; score.main()"
    process = start(tiny_bundle, tmp_path / "a.parquet", tmp_path / "b.parquet", code=without)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"pip install {PYARROW}".encode() in errors
    assert re.search(rf"^{re.escape(PYARROW)}\s", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
