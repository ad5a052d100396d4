"""Deal groups of texts out to train, validation and test: stratified by class, the same for any order of the rows.

Iterative stratification (Sechidis et al. 2011): the class with the fewest groups goes first, and each of its groups to the split
that wants most of it. Groups of several classes are dealt before those of one, which then follow in a pattern that needs no search.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.shared.splits import SPLITS

LARGE = 0.25  # of a split's rows
ALWAYS_SMALL = 10  # rows of a group
Shares = Mapping[str, float]  # split -> share of the texts, but for train; 0 where it comes from a file of its own
Wanted = dict[int, dict[str, int]]  # class id -> split -> groups


class Groups(NamedTuple):
    """Groups of rows by number. numbers, labels: (n,) of those of one class; mixed: number -> class ids of the others.

    sizes: the rows of each group, by its number.
    """

    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    mixed: dict[int, list[int]]
    sizes: NDArray[np.int64]

    def up_to(self, size: int) -> "Groups":
        """Return the groups of at most so many rows."""
        small = self.sizes[self.numbers] <= size
        mixed = {number: labels for number, labels in self.mixed.items() if self.sizes[number] <= size}
        return self._replace(numbers=self.numbers[small], labels=self.labels[small], mixed=mixed)

    def of_each_class(self) -> dict[int, int]:
        """Count the groups that each class is in."""
        counts = dict(zip(*(values.tolist() for values in np.unique(self.labels, return_counts=True)), strict=True))
        for labels in self.mixed.values():
            for label in labels:
                counts[label] = counts.get(label, 0) + 1
        return counts


def split(groups: Groups, shares: Shares, seed: int) -> NDArray[np.uint8]:
    """Return the position in SPLITS of each group. Sizes are shares of each class, rounded, at least one group in each split.

    A group that would be a large part of a split is in train, unless its classes have too few others.
    """
    rng = np.random.default_rng(seed)
    parts = np.zeros(len(groups.sizes), dtype=np.uint8)
    least = min((share for share in shares.values() if share), default=1)
    small = groups.up_to(max(ALWAYS_SMALL, int(LARGE * least * groups.sizes.sum())))
    counts = small.of_each_class()
    if all(counts.get(label, 0) >= needed(shares) for label in groups.of_each_class()):
        groups = small
    wanted = {label: _wanted(count, shares) for label, count in groups.of_each_class().items()}
    first = {label: dict(counts) for label, counts in wanted.items()}
    _deal_mixed(groups.mixed, wanted, first, rng, parts)
    alone = {label: groups.numbers[groups.labels == label] for label in wanted}
    for label in sorted(alone, key=lambda label: (len(alone[label]), label)):
        numbers = alone[label]
        parts[numbers[rng.permutation(len(numbers))]] = _pattern(wanted[label], first[label], len(numbers))
    return parts


def needed(shares: Shares) -> int:
    """Return how many groups a class needs at least."""
    return 1 + sum(share > 0 for share in shares.values())


def _wanted(count: int, shares: Shares) -> dict[str, int]:
    left = count
    wanted: dict[str, int] = {}
    for name in reversed(SPLITS[1:]):
        room = left - needed({other: shares[other] for other in SPLITS[1:] if other != name and other not in wanted})
        wanted[name] = min(max(1, round(count * shares[name])), room) if shares[name] else 0
        left -= wanted[name]
    return {"train": left} | wanted


def _deal_mixed(
    mixed: Mapping[int, Sequence[int]], wanted: Wanted, first: Wanted, rng: np.random.Generator, parts: NDArray[np.uint8]
) -> None:
    """Deal out groups of several classes, those of the rarest class first."""
    of_class: dict[int, set[int]] = {}
    for number, labels in mixed.items():
        for label in labels:
            of_class.setdefault(label, set()).add(number)
    while of_class:
        label = min(of_class, key=lambda label: (len(of_class[label]), label))
        numbers = sorted(of_class.pop(label))
        for number in (numbers[place] for place in rng.permutation(len(numbers))):
            name = max(
                (name for name in reversed(SPLITS) if first[label][name]),
                key=lambda name: _need(wanted, first, label, mixed[number], name),
            )
            parts[number] = SPLITS.index(name)
            for other in mixed[number]:
                wanted[other][name] -= 1
                of_class.get(other, set()).discard(number)


def _need(wanted: Wanted, first: Wanted, label: int, labels: Sequence[int], name: str) -> tuple[float, float]:
    """Return the share of its groups that a split still lacks: of this class, and summed over all classes of the group."""
    return wanted[label][name] / first[label][name], sum(wanted[other][name] / first[other][name] for other in labels)


def _pattern(wanted: Mapping[str, int], first: Mapping[str, int], count: int) -> list[int]:
    """Return the splits of so many groups of one class, one after the other: always the split that lacks most."""
    left = dict(wanted)
    positions = {name: SPLITS.index(name) for name in reversed(SPLITS) if first[name]}
    pattern = []
    for _ in range(count):
        name = max(positions, key=lambda name: left[name] / first[name])
        left[name] -= 1
        pattern.append(positions[name])
    return pattern
