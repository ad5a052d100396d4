"""Texts as token ids in flat memory, and steps of like-long texts that all cost the same.

Nothing is padded beyond the longest text of a batch, and a step of long texts holds fewer of them: time and memory of a step
do not depend on which texts it got.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from stages.shared.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 10_000  # texts tokenized together: the tokenizer keeps some kB for each until they are taken over
SPREAD = 0.2  # of the lengths before they are sorted: 6 % of padding, and neighbours that change from epoch to epoch
NO_CLASS = -100


class Texts(Dataset[dict[str, Any]]):
    """Token ids and class id of each text, in 4 bytes a token. Items are {input_ids, labels, row}."""

    def __init__(self, ids: NDArray[np.int32], ends: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        self.ids = ids
        self._ends = ends
        self.labels = labels
        self.lengths: NDArray[np.int64] = np.diff(ends, prepend=0)

    def set_epoch(self, epoch: int) -> None:
        """Be told which epoch begins. These texts are the same in each."""

    def with_ids(self, ids: NDArray[np.int32]) -> "Texts":
        """Return the same texts with other ids for their tokens."""
        return Texts(ids, self._ends, self.labels)

    def with_dropout(self, share: float, seed: int, mask: int, special: NDArray[np.int32]) -> "Texts":
        """Return the same texts, of which a share of the tokens has the id `mask`, others in each epoch, special ones never."""
        return TokenDropout(self.ids, self._ends, self.labels, share, seed, mask, special) if share else self

    def like_long(self, batch_size: int, pad_token_id: int) -> "Iterator[dict[str, torch.Tensor]]":
        """Give all texts once, the shortest first, in padded batches whose `row` tells which they are; for models that only answer."""
        order, together = np.argsort(self.lengths, kind="stable"), Padding(pad_token_id)
        for start in range(0, len(order), batch_size):
            yield together([self[row] for row in order[start : start + batch_size]])

    def by_length(self) -> "Subset[dict[str, Any]]":
        """Return the same texts, the longest first, so that batches of neighbours need little padding."""
        return Subset(self, np.argsort(-self.lengths, kind="stable").tolist())

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> dict[str, Any]:
        end = self._ends[row]
        return {"input_ids": self.ids[end - self.lengths[row] : end], "labels": self.labels[row], "row": row}


class TokenDropout(Texts):
    """Texts of which some tokens are hidden, so that no verdict hangs on single words (Texts.with_dropout).

    What is hidden depends on the seed and the epoch alone, not on who computes which batch.
    """

    def __init__(
        self,
        ids: NDArray[np.int32],
        ends: NDArray[np.int64],
        labels: NDArray[np.int64],
        share: float,
        seed: int,
        mask: int,
        special: NDArray[np.int32],
    ) -> None:
        super().__init__(ids, ends, labels)
        self._whole = ids
        self._may_be_hidden = ~np.isin(ids, special)
        self._share = share
        self._seed = seed
        self._mask = np.int32(mask)

    def set_epoch(self, epoch: int) -> None:
        dice = np.random.default_rng((self._seed, epoch))
        hidden = dice.random(len(self._whole), dtype=np.float32) < self._share
        self.ids = np.where(hidden & self._may_be_hidden, self._mask, self._whole)


def tokenize(texts: Sequence[str], labels: Sequence[int] | None, tokenizer: "PreTrainedTokenizerBase") -> Texts:
    """Cut texts into ids, at most tokenizer.model_max_length each; labels: None where there are none."""
    pieces: list[NDArray[np.int32]] = []
    lengths: list[int] = []
    for start in range(0, len(texts), AT_ONCE):
        encoded = tokenizer(
            list(texts[start : start + AT_ONCE]),
            truncation=True,
            max_length=tokenizer.model_max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        lengths += map(len, encoded)
        pieces.append(np.fromiter((token for ids in encoded for token in ids), dtype=np.int32))
    classes = np.full(len(lengths), NO_CLASS) if labels is None else np.asarray(labels)
    return Texts(np.concatenate(pieces), np.cumsum(lengths), classes.astype(np.int64))


class LikeLengths(Sampler[list[int]]):
    """Batches of rows: each epoch has the same number of steps, each step about the same number of tokens.

    lengths: tokens of each text. batch_size: texts of a step on average. parts: batches that a step is computed in.
    process, processes: which share of each step is ours; together they always make the same steps. told: hears of each epoch too.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        seed: int,
        *,
        parts: int = 1,
        process: int = 0,
        processes: int = 1,
        told: Texts | None = None,
    ) -> None:
        self.lengths = lengths
        self.fewest = parts * processes  # texts of a step: one for each batch
        if len(lengths) < self.fewest:
            remedy = "lower train.gradient_accumulation" if parts > 1 else "start fewer processes"
            raise StageError(f"{len(lengths)} texts are too few for {self.fewest} batches a step: {remedy}")
        self.steps = max(1, min(round(len(lengths) / batch_size), len(lengths) // self.fewest))
        self.seed = seed
        self.parts = parts
        self.process = process
        self.processes = processes
        self.told = told
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps * self.parts

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; every epoch has its own, whatever was drawn before it."""
        self.epoch = epoch
        if self.told:
            self.told.set_epoch(epoch)

    def heaviest(self) -> list[int]:
        """Return the batch of the first epoch that takes the most memory."""
        self.set_epoch(0)
        return max(self, key=lambda rows: len(rows) * int(self.lengths[rows].max()) ** 2)

    def __iter__(self) -> Iterator[list[int]]:
        dice = np.random.default_rng((self.seed, self.epoch))
        order = np.argsort(self.lengths * dice.uniform(1, 1 + SPREAD, len(self.lengths)), kind="stable")
        starts = self._starts(np.cumsum(self.lengths[order]))
        for step in dice.permutation(self.steps):
            rows = order[starts[step] : starts[step + 1]]
            for part in range(self.parts):
                yield rows[self.process * self.parts + part :: self.fewest].tolist()

    def _starts(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each step's first text: equal shares of the tokens, but never under the fewest texts."""
        shares = ends[-1] * np.arange(self.steps + 1) / self.steps
        least = self.fewest * np.arange(self.steps + 1)
        places = np.maximum.accumulate(np.searchsorted(ends, shares, side="right") - least) + least
        return np.minimum(places, len(ends) - least[::-1])


class Batches(DataLoader[dict[str, Any]]):
    """A loader whose sampler hears of each epoch; the Trainer asks for no more."""

    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)


class Padding:
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
