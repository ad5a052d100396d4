"""Texts to token ids, with the tokenizer of the bundle in one fixed form: cut at the model's length, never padded."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from serving.inference.bundle import TOKENIZER, Bundle

LONG = 16  # characters a token: a text with more per readable token is looked at from its beginning


class Encoded(NamedTuple):
    """token_ids: one array (tokens,) per text. truncated: (texts,), whether the text was longer than the model reads."""

    token_ids: list[NDArray[np.int64]]
    truncated: NDArray[np.bool_]


class TextEncoder:
    """The tokenizer of a bundle. Its settings never change, so threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self._long = LONG * bundle.max_length
        self._tokenizer = Tokenizer.from_file(str(bundle.folder / TOKENIZER))
        self._tokenizer.enable_truncation(bundle.max_length)
        self._tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return the token ids of clean texts."""
        encodings = self._tokenizer.encode_batch_fast([text if len(text) <= self._long else self._beginning(text) for text in texts])
        truncated = np.array([bool(encoding.overflowing) for encoding in encodings], dtype=bool)
        return Encoded([np.array(encoding.ids, dtype=np.int64) for encoding in encodings], truncated)

    def _beginning(self, text: str) -> str:
        """Return the beginning of a long text that fills the model's length with whole words, so that the rest is not tokenized."""
        size = self._long
        while size < len(text):
            encoding = self._tokenizer.encode(text[:size])  # unlike the fast form, it tells words
            if encoding.overflowing and _last_word(encoding) < _last_word(encoding.overflowing[-1]):
                return text[:size]
            size *= 4
        return text


def _last_word(encoding: Encoding) -> int:
    """Return the number of the last word, as the tokenizer splits a text: often a single character in Chinese and Japanese."""
    return max((word for word in encoding.word_ids if word is not None), default=-1)
