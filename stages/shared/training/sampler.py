"""Steps of about equal tokens, and token dropout."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from stages.shared.batches import Texts
from stages.shared.errors import StageError

LENGTH_JITTER = 0.2  # of the lengths before they are sorted: 6 % of padding, and neighbours that change from epoch to epoch


class TokenDropout(Texts):
    """Texts of which some tokens are hidden, so that no verdict hangs on single words.

    What is hidden depends on the seed and the epoch alone, not on who computes which batch.
    """

    def __init__(
        self,
        texts: Texts,
        share: float,
        seed: int,
        mask: int,
        special: NDArray[np.int32],
    ) -> None:
        super().__init__(texts.ids, texts.ends, texts.labels)
        self._whole = texts.ids
        self._may_be_hidden = ~np.isin(texts.ids, special)
        self._share = share
        self._seed = seed
        self._mask = np.int32(mask)

    @classmethod
    def of(cls, texts: Texts, share: float, seed: int, mask: int, special: NDArray[np.int32]) -> Texts:
        """Return the same texts, of which a share of the tokens has the id `mask`, others in each epoch, special ones never."""
        return cls(texts, share, seed, mask, special) if share else texts

    def set_epoch(self, epoch: int) -> None:
        rng = np.random.default_rng((self._seed, epoch))
        hidden = rng.random(len(self._whole), dtype=np.float32) < self._share
        self.ids = np.where(hidden & self._may_be_hidden, self._mask, self._whole)


class EqualTokenSampler(Sampler[list[int]]):
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
        rng = np.random.default_rng((self.seed, self.epoch))
        order = np.argsort(self.lengths * rng.uniform(1, 1 + LENGTH_JITTER, len(self.lengths)), kind="stable")
        starts = self._starts(np.cumsum(self.lengths[order]))
        for step in rng.permutation(self.steps):
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
