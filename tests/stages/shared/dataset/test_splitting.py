"""Groups are split by class with exact shares, and every class is in every split."""

import numpy as np
import pytest

from stages.shared.dataset.splitting import Groups, needed, split, without_large
from stages.shared.splits import SPLITS

SHARES = {"validation": 0.1, "test": 0.2}


def groups_of(labels: list[int], sizes: list[int] | None = None) -> Groups:
    return Groups(np.arange(len(labels)), np.array(labels), {}, np.array(sizes or [1] * len(labels)))


def test_each_class_gets_its_rounded_shares():
    labels = [0] * 70 + [1] * 30
    positions = split(groups_of(labels), SHARES, seed=1)
    counts = [[int(((positions == place) & (np.array(labels) == label)).sum()) for place in range(len(SPLITS))] for label in (0, 1)]
    assert counts == [[49, 7, 14], [21, 3, 6]]


def test_the_smallest_class_is_in_every_split():
    assert needed(SHARES) == 3
    positions = split(groups_of([0] * 3 + [1] * 97), SHARES, seed=1)
    assert sorted(positions[:3].tolist()) == [0, 1, 2]


def test_a_split_that_a_file_supplies_gets_no_groups():
    positions = split(groups_of([0, 1] * 50), {"validation": 0.1, "test": 0.0}, seed=1)
    assert set(positions.tolist()) == {0, 1}


def rows_of(positions: np.ndarray, groups: Groups) -> list[int]:
    return [int(groups.sizes[positions == place].sum()) for place in range(len(SPLITS))]


def test_large_group_goes_to_train_and_the_splits_keep_their_rows():
    groups = groups_of([0, 1] * 50, [100, *[1] * 99])
    positions = split(*without_large(groups, SHARES), seed=1)
    assert positions[0] == SPLITS.index("train")
    assert rows_of(positions, groups) == [139, 20, 40]


def test_groups_and_shares_stay_as_they_are_without_a_large_group():
    groups = groups_of([0, 1] * 50)
    small, shares = without_large(groups, SHARES)
    assert np.array_equal(small.numbers, groups.numbers)
    assert shares == SHARES


def test_large_group_is_split_like_others_if_its_class_has_too_few():
    groups = groups_of([0] * 2 + [1] * 50 + [0], [*[1] * 52, 400])
    assert without_large(groups, SHARES) == (groups, SHARES)


def test_shares_of_one_or_more_show_that_large_groups_leave_too_few_rows():
    _, shares = without_large(groups_of([0, 1] * 50, [400, *[1] * 99]), SHARES)
    assert sum(shares.values()) == pytest.approx(0.3 * 499 / 99)
