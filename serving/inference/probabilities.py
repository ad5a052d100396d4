"""The probabilities of the classes, from logits."""

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float64]  # (texts, classes), rows sum to 1


def softmax(logits: NDArray[np.floating]) -> Probabilities:
    """Turn logits (texts, classes) into probabilities (texts, classes)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: Probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities
