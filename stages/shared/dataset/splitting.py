"""Assignment of groups of texts to train, validation and test: stratified by class, the same for any order of the rows.

In: groups, the shares of the splits and a seed. Out: the split of each group.

Iterative stratification (Sechidis et al. 2011): the class with the fewest groups comes first.
Each of its groups goes to the split that lacks most of its quota.
Groups of several classes are assigned before groups of one class, which then follow a pattern without a search.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.shared.splits import SPLITS

LARGE = 0.25  # share of a split's rows: a larger group belongs in train
ALWAYS_SMALL = 10  # rows: a group of no more may go to any split
Shares = Mapping[str, float]  # validation and test -> share of the texts; 0 if a file supplies the split
Quotas = dict[int, dict[str, int]]  # class id -> split -> number of groups


class Groups(NamedTuple):
    """Groups of rows, which have numbers from 0.

    numbers, labels: (n,) number and class id of each group of one class. mixed: number -> class ids, of all other groups.
    sizes: how many rows each group has, by its number.
    """

    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    mixed: dict[int, list[int]]
    sizes: NDArray[np.int64]

    def up_to(self, size: int) -> "Groups":
        """Return the groups of at most `size` rows."""
        small = self.sizes[self.numbers] <= size
        mixed = {number: labels for number, labels in self.mixed.items() if self.sizes[number] <= size}
        return self._replace(numbers=self.numbers[small], labels=self.labels[small], mixed=mixed)

    def of_each_class(self) -> dict[int, int]:
        """Count the groups that hold each class."""
        counts = dict(zip(*(values.tolist() for values in np.unique(self.labels, return_counts=True)), strict=True))
        for labels in self.mixed.values():
            for label in labels:
                counts[label] = counts.get(label, 0) + 1
        return counts


def without_large(groups: Groups, shares: Shares) -> tuple[Groups, Shares]:
    """Leave out the groups that would be a large part of a split, and raise the shares so that the splits keep their rows.

    These groups go to train. If a class has too few other groups, all groups stay.
    """
    rows = groups.sizes.sum()
    least = min((share for share in shares.values() if share), default=1)
    limit = max(ALWAYS_SMALL, int(LARGE * least * rows))
    small = groups.up_to(limit)
    counts = small.of_each_class()
    if any(counts.get(label, 0) < needed(shares) for label in groups.of_each_class()):
        return groups, shares
    growth = float(rows / groups.sizes[groups.sizes <= limit].sum())
    return small, {name: share * growth for name, share in shares.items()}


def split(groups: Groups, shares: Shares, seed: int) -> NDArray[np.uint8]:
    """Return the position in SPLITS of each group. Each split gets its rounded share of each class, and at least one group of it.

    A group that `without_large` left out goes to train.
    """
    rng = np.random.default_rng(seed)
    positions = np.zeros(len(groups.sizes), dtype=np.uint8)
    missing = {label: _quota(count, shares) for label, count in groups.of_each_class().items()}
    quotas = {label: dict(counts) for label, counts in missing.items()}
    _assign_mixed(groups.mixed, missing, quotas, rng, positions)
    alone = {label: groups.numbers[groups.labels == label] for label in missing}
    for label in sorted(alone, key=lambda label: (len(alone[label]), label)):
        numbers = alone[label]
        positions[numbers[rng.permutation(len(numbers))]] = _pattern(missing[label], quotas[label], len(numbers))
    return positions


def needed(shares: Shares) -> int:
    """Return the least number of groups that a class needs."""
    return 1 + sum(share > 0 for share in shares.values())


def _quota(count: int, shares: Shares) -> dict[str, int]:
    left = count
    quota: dict[str, int] = {}
    for name in reversed(SPLITS[1:]):
        room = left - needed({other: shares[other] for other in SPLITS[1:] if other != name and other not in quota})
        quota[name] = min(max(1, round(count * shares[name])), room) if shares[name] else 0
        left -= quota[name]
    return {"train": left} | quota


def _assign_mixed(
    mixed: Mapping[int, Sequence[int]], missing: Quotas, quotas: Quotas, rng: np.random.Generator, positions: NDArray[np.uint8]
) -> None:
    """Assign the groups of several classes, those of the rarest class first. Changes missing and positions."""
    of_class: dict[int, set[int]] = {}
    for number, labels in mixed.items():
        for label in labels:
            of_class.setdefault(label, set()).add(number)
    while of_class:
        label = min(of_class, key=lambda label: (len(of_class[label]), label))
        numbers = sorted(of_class.pop(label))
        for number in (numbers[place] for place in rng.permutation(len(numbers))):
            name = max(
                (name for name in reversed(SPLITS) if quotas[label][name]),
                key=lambda name: _need(missing, quotas, label, mixed[number], name),
            )
            positions[number] = SPLITS.index(name)
            for other in mixed[number]:
                missing[other][name] -= 1
                of_class.get(other, set()).discard(number)


def _need(missing: Quotas, quotas: Quotas, label: int, labels: Sequence[int], name: str) -> tuple[float, float]:
    """Return the share of its quota that a split lacks: for this class, and summed over all classes of the group."""
    return missing[label][name] / quotas[label][name], sum(missing[other][name] / quotas[other][name] for other in labels)


def _pattern(missing: Mapping[str, int], quota: Mapping[str, int], count: int) -> list[int]:
    """Return the positions of `count` groups of one class: each goes to the split that lacks most of its quota."""
    left = dict(missing)
    position_of = {name: SPLITS.index(name) for name in reversed(SPLITS) if quota[name]}
    pattern = []
    for _ in range(count):
        name = max(position_of, key=lambda name: left[name] / quota[name])
        left[name] -= 1
        pattern.append(position_of[name])
    return pattern
