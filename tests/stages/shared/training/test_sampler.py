"""That every text is in one step an epoch, that steps cost the same, and that processes and parts share them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.shared.batches import Texts
from stages.shared.errors import StageError
from stages.shared.training.sampler import EqualTokenSampler, TokenDropout


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=12, max_size=300),
    batch_size=st.integers(1, 40),
    parts=st.integers(1, 4),
    processes=st.integers(1, 3),
    epoch=st.integers(0, 3),
)
def test_each_text_is_in_one_batch_of_one_process(lengths: list[int], batch_size: int, parts: int, processes: int, epoch: int) -> None:
    samplers = [
        EqualTokenSampler(np.array(lengths), batch_size, 7, parts=parts, process=process, processes=processes)
        for process in range(processes)
    ]
    seen: list[int] = []
    for sampler in samplers:
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler) == len(samplers[0])
        assert all(batches)
        seen += [row for batch in batches for row in batch]
    assert sorted(seen) == list(range(len(lengths)))


@given(parts=st.integers(1, 4), processes=st.integers(1, 3))
def test_steps_do_not_depend_on_who_computes_them(parts: int, processes: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 500)
    shares = [list(EqualTokenSampler(lengths, 32, 7, parts=parts, process=process, processes=processes)) for process in range(processes)]
    steps = [
        sorted(row for share in shares for batch in share[step : step + parts] for row in batch) for step in range(0, len(shares[0]), parts)
    ]
    assert steps == [sorted(batch) for batch in EqualTokenSampler(lengths, 32, 7)]


def test_steps_hold_about_as_many_tokens_and_little_padding() -> None:
    lengths = np.random.default_rng(0).geometric(0.08, 20_000).clip(3, 128)
    batches = list(EqualTokenSampler(lengths, 32, 7))
    tokens = [int(lengths[batch].sum()) for batch in batches]
    assert len(batches) == 20_000 // 32
    assert max(tokens) - min(tokens) <= 2 * 128
    assert sum(lengths[batch].max() * len(batch) for batch in batches) < 1.1 * lengths.sum()


def test_an_epoch_has_its_own_order_and_a_seed_repeats_it() -> None:
    lengths = np.full(64, 5)
    orders = []
    for seed, epoch in ((7, 0), (7, 1), (8, 0), (7, 0)):
        sampler = EqualTokenSampler(lengths, 8, seed)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_dropout_hides_a_share_of_the_tokens_others_in_each_epoch_and_no_special_ones() -> None:
    lengths = np.random.default_rng(0).integers(3, 40, 2_000)
    ids = np.random.default_rng(1).integers(0, 100, lengths.sum()).astype(np.int32)
    texts = Texts(ids, np.cumsum(lengths), np.zeros(2_000, dtype=np.int64))
    dropped = TokenDropout.of(texts, 0.2, 7, mask=3, special=np.array([0, 1, 2, 3], dtype=np.int32))
    seen = []
    for epoch in (0, 1, 0):
        EqualTokenSampler(lengths, 32, 7, told=dropped).set_epoch(epoch)
        seen.append(np.concatenate([dropped[row]["input_ids"] for row in range(2_000)]))
    assert np.array_equal(seen[0], seen[2])
    hidden = seen[0] != ids
    assert (seen[0][hidden] == 3).all()
    assert not hidden[ids <= 3].any()
    assert hidden[ids > 3].mean() == pytest.approx(0.2, abs=0.01)
    assert (hidden & (seen[1] != ids))[ids > 3].mean() == pytest.approx(0.04, abs=0.01)
    assert TokenDropout.of(texts, 0.0, 7, mask=3, special=np.array([], dtype=np.int32)) is texts


def test_fewer_texts_than_parts_are_refused() -> None:
    with pytest.raises(StageError, match="2 texts are too few for 3 batches"):
        EqualTokenSampler(np.array([3, 3]), 1, 7, parts=3)
    with pytest.raises(StageError, match="1 texts are too few for 2 batches a step: start fewer processes"):
        EqualTokenSampler(np.array([3]), 1, 7, processes=2)
