"""Texts as token ids in flat memory, and steps of like-long texts that all cost the same.

Nothing is padded beyond the longest text of a batch, and a step of long texts holds fewer of them: time and memory of a step
do not depend on which texts it got.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from stages.shared.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZE_CHUNK = 10_000  # texts tokenized together: the tokenizer keeps some kB for each until they are taken over
NO_CLASS = -100


def load_tokenizer(base_dir: Path, max_length: int, param: str) -> "PreTrainedTokenizerBase":
    """Load the base's tokenizer so that it cuts at max_length tokens; raise StageError where the base takes fewer.

    param: that max_length is of.
    """
    if not (base_dir / "config.json").is_file():
        raise StageError(f"{base_dir} is no base model: run `dvc repro base_model`")
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(base_dir)
    except (OSError, ValueError) as error:
        raise StageError(f"{base_dir} cannot be loaded ({str(error).strip().splitlines()[0]}): run `dvc repro -f base_model`") from None
    positions = getattr(config, "max_position_embeddings", max_length)
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "longformer"):
        positions -= config.pad_token_id + 1  # they count from behind the padding's position
    if max_length > positions:
        raise StageError(f"{param} is {max_length}: the base model takes at most {positions} tokens")
    return AutoTokenizer.from_pretrained(base_dir, model_max_length=max_length)


class Texts(Dataset[dict[str, Any]]):
    """Token ids and class id of each text, in 4 bytes a token. Items are {input_ids, labels, row}."""

    def __init__(self, ids: NDArray[np.int32], ends: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        self.ids = ids
        self.ends = ends
        self.labels = labels
        self.lengths: NDArray[np.int64] = np.diff(ends, prepend=0)

    def set_epoch(self, epoch: int) -> None:
        """Be told which epoch begins. These texts are the same in each."""

    def with_ids(self, ids: NDArray[np.int32]) -> "Texts":
        """Return the same texts with other ids for their tokens."""
        return Texts(ids, self.ends, self.labels)

    def sorted_batches(self, batch_size: int, pad_token_id: int) -> "Iterator[dict[str, torch.Tensor]]":
        """Give all texts once, the shortest first, in padded batches whose `row` tells which they are; for models that only answer."""
        order, together = np.argsort(self.lengths, kind="stable"), PaddingCollator(pad_token_id)
        for start in range(0, len(order), batch_size):
            yield together([self[row] for row in order[start : start + batch_size]])

    def by_length(self) -> "Subset[dict[str, Any]]":
        """Return the same texts, the longest first, so that batches of neighbours need little padding."""
        return Subset(self, np.argsort(-self.lengths, kind="stable").tolist())

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> dict[str, Any]:
        end = self.ends[row]
        return {"input_ids": self.ids[end - self.lengths[row] : end], "labels": self.labels[row], "row": row}


def tokenize(texts: Sequence[str], labels: Sequence[int] | None, tokenizer: "PreTrainedTokenizerBase") -> Texts:
    """Cut texts into ids, at most tokenizer.model_max_length each; labels: None where there are none."""
    pieces: list[NDArray[np.int32]] = []
    lengths: list[int] = []
    for start in range(0, len(texts), TOKENIZE_CHUNK):
        encoded = tokenizer(
            list(texts[start : start + TOKENIZE_CHUNK]),
            truncation=True,
            max_length=tokenizer.model_max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        lengths += map(len, encoded)
        pieces.append(np.fromiter((token for ids in encoded for token in ids), dtype=np.int32))
    classes = np.full(len(lengths), NO_CLASS) if labels is None else np.asarray(labels)
    return Texts(np.concatenate(pieces), np.cumsum(lengths), classes.astype(np.int64))


class PaddingCollator:
    """Put items into tensors: input_ids and attention_mask (texts, longest), labels and row (texts,)."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        lengths = np.array([len(item["input_ids"]) for item in items])
        filled = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(filled.shape, self.pad_token_id, dtype=np.int64)
        ids[filled] = np.concatenate([item["input_ids"] for item in items])
        whole = {name: torch.tensor([int(item[name]) for item in items]) for name in ("labels", "row")}
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(filled.astype(np.int64)), **whole}
