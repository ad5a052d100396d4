"""The lengths of texts in tokens: the texts of all splits and a tokenizer come in, counts for the report and the metrics go out."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from stages.shared.dataset.summary import Summary

UNKNOWN_TOKENS = ("[UNK]", "<unk>")
MEASURED_TEXTS = 100_000  # texts whose tokens are counted, fewer if they are long
MEASURED_CHARACTERS = 10_000_000
ENCODED_TEXTS = 200  # at a time


@dataclass(frozen=True)
class Lengths:
    """The lengths of texts in tokens. tokens: (texts,). unknown_share: unknown tokens among all. max_length: train.max_length."""

    tokens: np.ndarray
    unknown_share: float
    max_length: int

    @property
    def truncated(self) -> float:
        """The share of the texts that train truncates."""
        return float((self.tokens > self.max_length).mean())

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers that `dvc metrics diff` compares."""
        half, most = (float(np.quantile(self.tokens, share)) for share in (0.5, 0.95))
        return {"median": half, "p95": most, "longest": int(self.tokens.max()), "truncated": self.truncated, "unknown": self.unknown_share}


def token_lengths(summary: Summary, tokenizer_file: Path, max_length: int) -> Lengths:
    """Count the tokens of the texts of all splits, or of a sample if there are many."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    unknown_ids = [number for name in UNKNOWN_TOKENS if (number := tokenizer.token_to_id(name)) is not None]
    counts, unknown = [], 0
    texts = summary.texts_of(None, min(MEASURED_TEXTS, max(1, MEASURED_CHARACTERS // summary.mean_length())))
    while chunk := [text for text, _ in islice(texts, ENCODED_TEXTS)]:
        for encoding in tokenizer.encode_batch_fast(chunk):
            counts.append(len(encoding.ids))
            unknown += sum(map(encoding.ids.count, unknown_ids))
    return Lengths(np.array(counts), unknown / max(1, sum(counts)), max_length)
