"""Tests that softmax gives probabilities."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serving.inference.probabilities import softmax


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_softmax_gives_probabilities_for_any_logits(logits: np.ndarray) -> None:
    probabilities = softmax(logits)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities[range(3), logits.argmax(axis=1)] == probabilities.max(axis=1)).all()
    assert (probabilities <= 1).all()
