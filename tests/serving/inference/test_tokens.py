"""Tests that a text gets the token ids of the tokenizer itself, and that only the beginning of a long text is tokenized."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from serving.inference.bundle import TOKENIZER, read_bundle
from serving.inference.tokens import BundleTokenizer


@pytest.mark.parametrize("word", ["good ", "x", "가나 ", "좋", "好", "!", "a" * 150 + " "])
def test_megabyte_gets_the_token_ids_of_its_beginning_alone(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    bundle = read_bundle(tiny_bundle)
    text = (word * (1_000_000 // len(word))).strip()
    tokenizer = Tokenizer.from_file(str(tiny_bundle / TOKENIZER))
    tokenizer.enable_truncation(bundle.max_length)
    expected = tokenizer.encode(text)
    sizes: list[int] = []
    beginning = BundleTokenizer.beginning

    def recorded(self: BundleTokenizer, text: str) -> str:
        found = beginning(self, text)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(BundleTokenizer, "beginning", recorded)
    token_ids, truncated = BundleTokenizer(bundle).tokenize([text])
    assert token_ids[0].tolist() == expected.ids
    assert truncated.tolist() == [bool(expected.overflowing)]
    assert sizes[0] < 50_000 or word in ("x", "좋")  # for the tokenizer, each of these texts is one word
