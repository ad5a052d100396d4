"""Tokens with the same neighbours get the same embedding, and near neighbours count more."""

import numpy as np
import pytest

from stages.shared.batches import Texts
from stages.shared.training.vocabulary.cooccurrence import WINDOW, _counts, embeddings


def texts_of(*rows: list[int]) -> Texts:
    ends = np.cumsum([len(row) for row in rows])
    return Texts(np.concatenate(rows).astype(np.int32), ends, np.full(len(rows), -100))


def test_neighbour_at_distance_d_counts_one_over_d_within_a_text_only() -> None:
    counts = _counts(texts_of([0, 1, 2], [0, 2]), 4).toarray()
    assert counts.tolist() == [[0, 1, 1.5, 0], [1, 0, 1, 0], [1.5, 1, 0, 0], [0, 0, 0, 0]]
    distant = _counts(texts_of([0, *[2] * WINDOW, 1]), 3).toarray()
    assert distant[0, 1] == distant[1, 0] == 0


def test_tokens_with_the_same_neighbours_get_the_same_embedding_and_a_lone_token_gets_zero() -> None:
    found = embeddings(texts_of([0, 4], [1, 4], [2, 5], [3, 5], [6]), 7, width=4, seed=1)
    assert found.shape == (7, 4)
    assert np.square(found).mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    np.testing.assert_allclose(found[2], found[3], atol=1e-5)
    assert abs(found[0] @ found[2]) < 1e-4
    assert not found[6].any()
