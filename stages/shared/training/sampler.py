"""The steps of an epoch: texts of similar length share a step, and each step has about the same number of tokens.

In: the length of each text, a batch size and a seed. Out: the rows of each micro-batch.
So time and memory of a step do not depend on which texts it got. Token dropout stands here too, because it changes with the epoch.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from stages.shared.batches import Texts
from stages.shared.errors import StageError

LENGTH_JITTER = 0.2  # largest share that a length grows by before sorting: neighbours change with the epoch, and 6 % of a batch is padding


class TokenDropout(Texts):
    """Texts with a share of their tokens masked, other tokens in each epoch, so that no answer depends on single words.

    Which tokens are masked depends on seed and epoch only, not on the process that computes a batch.
    """

    def __init__(self, texts: Texts, share: float, seed: int, mask_id: int, special_ids: NDArray[np.int32]) -> None:
        super().__init__(texts.ids, texts.ends, texts.labels)
        self._unmasked_ids = texts.ids
        self._maskable = ~np.isin(texts.ids, special_ids)
        self._share = share
        self._seed = seed
        self._mask_id = np.int32(mask_id)

    @classmethod
    def of(cls, texts: Texts, share: float, seed: int, mask_id: int, special_ids: NDArray[np.int32]) -> Texts:
        """Return the texts with token dropout, or unchanged if the share is 0; special tokens are never masked."""
        return cls(texts, share, seed, mask_id, special_ids) if share else texts

    def set_epoch(self, epoch: int) -> None:
        """Choose the masked tokens of an epoch."""
        rng = np.random.default_rng((self._seed, epoch))
        masked = rng.random(len(self._unmasked_ids), dtype=np.float32) < self._share
        self.ids = np.where(masked & self._maskable, self._mask_id, self._unmasked_ids)


class EqualTokenSampler(Sampler[list[int]]):
    """Yield the rows of each micro-batch. Every epoch has the same number of steps, and every step about the same number of tokens.

    lengths: tokens of each text. batch_size: mean number of texts in a step. micro_batches: of a step, in each process.
    process, processes: which share of each step is ours; the steps do not depend on it. listener: texts whose set_epoch is called too.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        seed: int,
        *,
        micro_batches: int = 1,
        process: int = 0,
        processes: int = 1,
        listener: Texts | None = None,
    ) -> None:
        self.lengths = lengths
        self.min_texts = micro_batches * processes  # of a step: each micro-batch needs one
        if len(lengths) < self.min_texts:
            remedy = "lower train.gradient_accumulation" if micro_batches > 1 else "start fewer processes"
            raise StageError(f"{len(lengths)} texts are too few for {self.min_texts} micro-batches a step: {remedy}")
        self.steps = max(1, min(round(len(lengths) / batch_size), len(lengths) // self.min_texts))
        self.seed = seed
        self.micro_batches = micro_batches
        self.process = process
        self.processes = processes
        self.listener = listener
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps * self.micro_batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; it depends on seed and epoch only."""
        self.epoch = epoch
        if self.listener:
            self.listener.set_epoch(epoch)

    def heaviest(self) -> list[int]:
        """Return the micro-batch of the first epoch that takes the most memory."""
        self.set_epoch(0)
        return max(self, key=lambda rows: len(rows) * int(self.lengths[rows].max()) ** 2)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = np.argsort(self.lengths * rng.uniform(1, 1 + LENGTH_JITTER, len(self.lengths)), kind="stable")
        starts = self._starts(np.cumsum(self.lengths[order]))
        for step in rng.permutation(self.steps):
            rows = order[starts[step] : starts[step + 1]]
            for micro_batch in range(self.micro_batches):
                yield rows[self.process * self.micro_batches + micro_batch :: self.min_texts].tolist()

    def _starts(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where each step begins in the order: equal shares of the tokens, but at least min_texts texts."""
        shares = ends[-1] * np.arange(self.steps + 1) / self.steps
        least = self.min_texts * np.arange(self.steps + 1)
        starts = np.maximum.accumulate(np.searchsorted(ends, shares, side="right") - least) + least
        return np.minimum(starts, len(ends) - least[::-1])


class Batches(DataLoader[dict[str, Any]]):
    """A loader that passes the epoch on to its sampler. The Trainer calls set_epoch if a loader has it."""

    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)
