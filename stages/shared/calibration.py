"""Calibration: a score of 90 % should be right nine times in ten.

Probabilities and labels come in. Out go one temperature that calibrates the probabilities, and the error that is left.
"""

import math

import numpy as np
from numpy.typing import NDArray

from serving.inference.probabilities import Probabilities, softmax

BINS = 15  # of the score, for the calibration error
MAX_TEMPERATURE = 20.0  # of the search; its inverse is the minimum
TINY = 1e-300  # replaces a probability of 0, whose logarithm is infinite


def fit_temperature(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Return the temperature that gives the labels (texts,) the highest likelihood.

    probabilities: (texts, classes), at temperature 1. The likelihood has one text more: an average text whose second-best class is right.
    Without it, a split without a mistake would make every score 1.
    """
    from scipy.optimize import minimize_scalar

    texts = np.arange(len(labels))
    logits = np.log(np.maximum(probabilities, TINY))
    others = logits.copy()
    others[texts, labels] = -np.inf
    second_best = others.argmax(axis=1)

    def loss(log_temperature: float) -> float:
        losses = -np.log(np.maximum(softmax(logits / math.exp(log_temperature)), TINY))
        return float(losses[texts, labels].sum() + losses[texts, second_best].mean())

    limit = math.log(MAX_TEMPERATURE)
    return math.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x)


def at_temperature(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Convert probabilities (texts, classes) from temperature 1 to another temperature."""
    return softmax(np.log(np.maximum(probabilities, TINY)) / temperature)


def cross_entropy(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Return the mean of -log(probability of the label)."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], TINY)).mean())


def expected_calibration_error(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Return the mean gap between score and accuracy in 15 equal bins of the score, weighted by their texts (Guo et al. 2017)."""
    scores, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=scores - correct, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
