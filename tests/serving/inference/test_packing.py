"""Tests that batches hold every text once, separate from the others, in few shapes and with little padding."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.inference.packing import BATCH_TOKENS, ROW_TOKENS, Batch, Packer, round_up

LENGTHS = st.lists(st.integers(0, 130), max_size=60)
MAX_LENGTH, PAD = 130, 7


def texts_of(lengths: list[int]) -> list[np.ndarray]:
    """Return token ids of which no two are equal and none is the padding."""
    ends = np.cumsum([0, *lengths]) + 100
    return [np.arange(start, end) for start, end in itertools.pairwise(ends)]


def packed(lengths: list[int], *, shared_rows: bool) -> list[tuple[list[int], list[int], Batch]]:
    """Return copies of the batches, because the next batch reuses their memory."""
    packer = Packer(MAX_LENGTH, PAD, shared_rows=shared_rows)
    return [
        (texts, logit_rows, Batch._make(field.copy() for field in batch)) for texts, logit_rows, batch in packer.pack(texts_of(lengths))
    ]


@given(lengths=LENGTHS, shared_rows=st.booleans())
def test_every_text_is_once_where_the_batch_says(lengths: list[int], shared_rows: bool) -> None:
    token_ids, packed_texts = texts_of(lengths), []
    for texts, logit_rows, batch in packed(lengths, shared_rows=shared_rows):
        claimed = np.zeros_like(batch.attention_mask)
        for text, logit_row in zip(texts, logit_rows, strict=True):
            row, place = divmod(logit_row, batch.first.shape[1])
            own = batch.attention_mask[row] == place + 1
            expected = token_ids[text] if lengths[text] else [PAD]
            assert batch.input_ids[row][own].tolist() == list(expected)
            assert batch.positions[row][own].tolist() == list(range(len(expected)))
            assert batch.first[row, place] == own.argmax()
            claimed[row] += own
        assert (claimed <= 1).all()
        filled = claimed.any(axis=1)
        assert (batch.input_ids[claimed == 0] == PAD).all()
        assert (batch.attention_mask[filled] > 0).tolist() == (claimed[filled] > 0).tolist()
        assert batch.attention_mask.any(axis=1).all(), "a row without a token"
        packed_texts += texts
    assert sorted(packed_texts) == list(range(len(lengths)))


@given(lengths=LENGTHS)
def test_engine_without_shared_rows_gets_one_text_per_row(lengths: list[int]) -> None:
    for texts, logit_rows, batch in packed(lengths, shared_rows=False):
        assert logit_rows == list(range(len(texts)))
        assert set(np.unique(batch.attention_mask)) <= {0, 1}
        assert batch.input_ids.shape[1] <= MAX_LENGTH


@given(lengths=LENGTHS, shared_rows=st.booleans())
def test_batches_are_bounded_and_of_few_shapes(lengths: list[int], shared_rows: bool) -> None:
    for _, _, batch in packed(lengths, shared_rows=shared_rows):
        rows, tokens = batch.input_ids.shape
        assert rows == 1 or rows * tokens <= BATCH_TOKENS
        assert all(round_up(size) == size for size in (rows, batch.first.shape[1]))
        assert round_up(tokens) == tokens or tokens == MAX_LENGTH


def test_shared_rows_leave_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(5, 50, 24).tolist()
    shared, apart = (sum(batch.input_ids.size for _, _, batch in packed(lengths, shared_rows=shared_rows)) for shared_rows in (True, False))
    assert sum(lengths) <= shared < 1.15 * sum(lengths) < apart
    assert max(batch.input_ids.shape[1] for _, _, batch in packed(lengths, shared_rows=True)) == ROW_TOKENS


def test_sizes_are_rounded_to_four_steps_per_octave() -> None:
    assert sorted({round_up(number) for number in range(1, 41)}) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40]
    assert all(number <= round_up(number) <= 1.25 * number for number in range(1, 2_000))
