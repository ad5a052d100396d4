"""The tokenizer of a bundle: clean texts come in, token ids go out.

Its settings never change: it truncates to `max_length` and never pads.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from serving.inference.bundle import TOKENIZER, Bundle

LONG = 16  # characters per token of `max_length`: of a longer text only the beginning is tokenized


class Tokenized(NamedTuple):
    """token_ids: one array (tokens,) per text. truncated: (texts,), whether the text is longer than `max_length`."""

    token_ids: list[NDArray[np.int64]]
    truncated: NDArray[np.bool_]


class BundleTokenizer:
    """The tokenizer of a bundle. Threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self._long = LONG * bundle.max_length
        self._tokenizer = Tokenizer.from_file(str(bundle.folder / TOKENIZER))
        self._tokenizer.enable_truncation(bundle.max_length)
        self._tokenizer.no_padding()

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        """Return the token ids of clean texts."""
        encodings = self._tokenizer.encode_batch_fast([text if len(text) <= self._long else self.beginning(text) for text in texts])
        truncated = np.array([bool(encoding.overflowing) for encoding in encodings], dtype=bool)
        return Tokenized([np.array(encoding.ids, dtype=np.int64) for encoding in encodings], truncated)

    def beginning(self, text: str) -> str:
        """Return the beginning of a long text that fills `max_length` with complete words, so that the rest needs no tokenizing."""
        size = self._long
        while size < len(text):
            encoding = self._tokenizer.encode(text[:size])  # unlike encode_batch_fast, it numbers words
            if encoding.overflowing and _last_word(encoding) < _last_word(encoding.overflowing[-1]):
                return text[:size]
            size *= 4
        return text


def _last_word(encoding: Encoding) -> int:
    """Return the number of the last word as the tokenizer splits a text. In Chinese and Japanese it is often one character."""
    return max((word for word in encoding.word_ids if word is not None), default=-1)
