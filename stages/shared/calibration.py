"""Whether a score of 90 % is right nine times in ten: one temperature that makes it so, and the error that is left."""

import math

import numpy as np
from numpy.typing import NDArray

from serving.inference.probabilities import Probabilities, softmax

BINS = 15
HOTTEST = 20.0  # largest temperature looked at; the least is its inverse


def fit_temperature(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Return the temperature that gives the labels (texts,) the highest likelihood; probabilities (texts, classes) are at 1.

    One text more counts, an average one of which the second answer is right: else a split without a mistake would make every score 1.
    """
    from scipy.optimize import minimize_scalar

    texts = np.arange(len(labels))
    logits = np.log(np.maximum(probabilities, 1e-300))
    others = logits.copy()
    others[texts, labels] = -np.inf
    second = others.argmax(axis=1)

    def loss(log_temperature: float) -> float:
        losses = -np.log(np.maximum(softmax(logits / math.exp(log_temperature)), 1e-300))
        return float(losses[texts, labels].sum() + losses[texts, second].mean())

    limit = math.log(HOTTEST)
    return math.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x)


def at_temperature(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return probabilities (texts, classes), given at temperature 1, at another one."""
    return softmax(np.log(np.maximum(probabilities, 1e-300)) / temperature)


def cross_entropy(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Return the mean of -log of the label's probability."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-300)).mean())


def expected_calibration_error(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Return the mean gap between score and accuracy over 15 equal bins of the score, weighted by texts (Guo et al., 2017)."""
    scores, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=scores - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
