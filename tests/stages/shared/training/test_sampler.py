"""Every text is in one step of an epoch, steps have about equal tokens, and processes and micro-batches divide them."""

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
    micro_batches=st.integers(1, 4),
    processes=st.integers(1, 3),
    epoch=st.integers(0, 3),
)
def test_each_text_is_in_one_micro_batch_of_one_process(
    lengths: list[int], batch_size: int, micro_batches: int, processes: int, epoch: int
) -> None:
    samplers = [
        EqualTokenSampler(np.array(lengths), batch_size, 7, micro_batches=micro_batches, process=process, processes=processes)
        for process in range(processes)
    ]
    rows: list[int] = []
    for sampler in samplers:
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler) == len(samplers[0])
        assert all(batches)
        rows += [row for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(lengths)))


@given(micro_batches=st.integers(1, 4), processes=st.integers(1, 3))
def test_steps_do_not_depend_on_processes_and_micro_batches(micro_batches: int, processes: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 500)
    shares = [
        list(EqualTokenSampler(lengths, 32, 7, micro_batches=micro_batches, process=process, processes=processes))
        for process in range(processes)
    ]
    steps = [
        sorted(row for share in shares for batch in share[start : start + micro_batches] for row in batch)
        for start in range(0, len(shares[0]), micro_batches)
    ]
    assert steps == [sorted(batch) for batch in EqualTokenSampler(lengths, 32, 7)]


def test_steps_have_about_equal_tokens_and_little_padding() -> None:
    lengths = np.random.default_rng(0).geometric(0.08, 20_000).clip(3, 128)
    batches = list(EqualTokenSampler(lengths, 32, 7))
    tokens = [int(lengths[batch].sum()) for batch in batches]
    assert len(batches) == 20_000 // 32
    assert max(tokens) - min(tokens) <= 2 * 128
    assert sum(lengths[batch].max() * len(batch) for batch in batches) < 1.1 * lengths.sum()


def test_each_epoch_has_another_order_and_a_seed_repeats_it() -> None:
    lengths = np.full(64, 5)
    orders = []
    for seed, epoch in ((7, 0), (7, 1), (8, 0), (7, 0)):
        sampler = EqualTokenSampler(lengths, 8, seed)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_token_dropout_masks_a_share_of_the_tokens_others_in_each_epoch_and_no_special_ones() -> None:
    lengths = np.random.default_rng(0).integers(3, 40, 2_000)
    ids = np.random.default_rng(1).integers(0, 100, lengths.sum()).astype(np.int32)
    texts = Texts(ids, np.cumsum(lengths), np.zeros(2_000, dtype=np.int64))
    dropped = TokenDropout.of(texts, 0.2, 7, mask_id=3, special_ids=np.array([0, 1, 2, 3], dtype=np.int32))
    epochs = []
    for epoch in (0, 1, 0):
        EqualTokenSampler(lengths, 32, 7, listener=dropped).set_epoch(epoch)
        epochs.append(np.concatenate([dropped[row]["input_ids"] for row in range(2_000)]))
    assert np.array_equal(epochs[0], epochs[2])
    masked = epochs[0] != ids
    assert (epochs[0][masked] == 3).all()
    assert not masked[ids <= 3].any()
    assert masked[ids > 3].mean() == pytest.approx(0.2, abs=0.01)
    assert (masked & (epochs[1] != ids))[ids > 3].mean() == pytest.approx(0.04, abs=0.01)
    assert TokenDropout.of(texts, 0.0, 7, mask_id=3, special_ids=np.array([], dtype=np.int32)) is texts


def test_fewer_texts_than_micro_batches_are_refused() -> None:
    with pytest.raises(StageError, match=r"2 texts are too few for 3 micro-batches a step: lower train\.gradient_accumulation"):
        EqualTokenSampler(np.array([3, 3]), 1, 7, micro_batches=3)
    with pytest.raises(StageError, match="1 texts are too few for 2 micro-batches a step: start fewer processes"):
        EqualTokenSampler(np.array([3]), 1, 7, processes=2)
