"""Texts as token ids: the base model's tokenizer, tokenized texts in flat memory, and padded batches.

In: the folder of a base model, texts and labels. Out: `Texts`, and batches as tensors.
A batch is padded to its longest text and no further.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from stages.shared.errors import StageError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZE_CHUNK = 10_000  # texts that the tokenizer gets at a time: it takes some kB for each until we copy the ids
NO_LABEL = -100  # in the place of a label; torch's losses ignore it


class BaseModelUnusable(StageError):
    """A folder does not hold a base model that can be loaded."""

    def __init__(self, folder: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{folder} {problem}: run `{remedy}`")


def load_tokenizer(base_dir: Path, max_length: int, param: str) -> "PreTrainedTokenizerBase":
    """Load the base model's tokenizer and have it truncate at max_length tokens.

    param: where max_length comes from, for the error. Raises StageError if the base model takes fewer tokens.
    """
    if not (base_dir / "config.json").is_file():
        raise BaseModelUnusable(base_dir, "holds no base model", "dvc repro base_model")
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(base_dir)
    except (OSError, ValueError) as error:
        raise BaseModelUnusable(base_dir, f"cannot be loaded ({first_line(error)})", "dvc repro -f base_model") from None
    positions = getattr(config, "max_position_embeddings", max_length)
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "longformer"):
        positions -= config.pad_token_id + 1  # these count from the position after the padding's
    if max_length > positions:
        raise StageError(f"{param} is {max_length}, but the base model takes at most {positions} tokens: lower {param}")
    return AutoTokenizer.from_pretrained(base_dir, model_max_length=max_length)


class Texts(Dataset[dict[str, Any]]):
    """Token ids and class id of each text, in 4 bytes a token. Items are {input_ids, labels, row}.

    ids: the tokens of all texts, one text after another. ends: where each text ends in them.
    """

    def __init__(self, ids: NDArray[np.int32], ends: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        self.ids = ids
        self.ends = ends
        self.labels = labels
        self.lengths: NDArray[np.int64] = np.diff(ends, prepend=0)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: these texts are the same in each epoch. Subclasses change them."""

    def with_ids(self, ids: NDArray[np.int32]) -> "Texts":
        """Return the same texts with other ids for their tokens."""
        return Texts(ids, self.ends, self.labels)

    def sorted_batches(self, batch_size: int, pad_token_id: int) -> "Iterator[dict[str, torch.Tensor]]":
        """Yield padded batches of all texts, the shortest first, for forward passes without training; `row` names the texts."""
        order, collate = np.argsort(self.lengths, kind="stable"), PaddingCollator(pad_token_id)
        for start in range(0, len(order), batch_size):
            yield collate([self[row] for row in order[start : start + batch_size]])

    def longest_first(self) -> "Subset[dict[str, Any]]":
        """Return the same texts sorted by length, so that batches of neighbours need little padding."""
        return Subset(self, np.argsort(-self.lengths, kind="stable").tolist())

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> dict[str, Any]:
        end = self.ends[row]
        return {"input_ids": self.ids[end - self.lengths[row] : end], "labels": self.labels[row], "row": row}


def tokenize(texts: Sequence[str], labels: Sequence[int] | None, tokenizer: "PreTrainedTokenizerBase") -> Texts:
    """Tokenize texts and truncate each at tokenizer.model_max_length; labels: None if there are none."""
    chunks: list[NDArray[np.int32]] = []
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
        chunks.append(np.fromiter((token for ids in encoded for token in ids), dtype=np.int32))
    class_ids = np.full(len(lengths), NO_LABEL) if labels is None else np.asarray(labels)
    return Texts(np.concatenate(chunks), np.cumsum(lengths), class_ids.astype(np.int64))


class PaddingCollator:
    """Stack items into tensors: input_ids and attention_mask (texts, longest), labels and row (texts,)."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        lengths = np.array([len(item["input_ids"]) for item in items])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(mask.shape, self.pad_token_id, dtype=np.int64)
        ids[mask] = np.concatenate([item["input_ids"] for item in items])
        scalars = {name: torch.tensor([int(item[name]) for item in items]) for name in ("labels", "row")}
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64)), **scalars}
