"""Lengths in tokens: each text is counted, long data sets by a sample, and unknown tokens are a share of all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from stages.shared.dataset import lengths
from stages.shared.dataset.lengths import token_lengths
from stages.shared.dataset.row_store import Entry, open_row_store
from stages.shared.dataset.summary import Summary

TEXTS = ["good", "good film", "a b c d", "film " * 10]


@pytest.fixture
def summary() -> Iterator[Summary]:
    with open_row_store() as rows:
        rows.add(Entry("source", "a.csv", line, text, 0, None, "", text, "") for line, text in enumerate(TEXTS))
        yield Summary(rows.database)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A tokenizer of words that knows two, and truncates: the counts must not."""
    words = Tokenizer(WordLevel({"[UNK]": 0, "good": 1, "film": 2}, "[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.enable_truncation(2)
    words.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_metrics_count_every_text_in_full(summary: Summary, tokenizer: Path) -> None:
    found = token_lengths(summary, tokenizer, max_length=4)
    assert sorted(found.tokens.tolist()) == [1, 2, 4, 10]
    assert found.metrics == {"median": 3.0, "p95": pytest.approx(9.1), "longest": 10, "truncated": 0.25, "unknown": 4 / 17}


def test_many_texts_are_counted_by_a_sample(summary: Summary, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "MEASURED_TEXTS", 2)
    assert len(token_lengths(summary, tokenizer, max_length=4).tokens) == 2
