"""95 % intervals: counts or predictions come in, the limits of a score or of a difference between two models go out."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2_000  # of a bootstrap
CONFIDENCE = 0.95


def wilson(correct: int, texts: int) -> tuple[float, float]:
    """Return Wilson's interval of an accuracy: low, high."""
    from scipy.stats import binomtest

    interval = binomtest(correct, texts).proportion_ci(CONFIDENCE, "wilson")
    return float(interval.low), float(interval.high)


def bootstrap_f1(counts: "np.ndarray", seed: int) -> tuple[float, float]:
    """Return the bootstrap interval of macro F1: low, high. counts: (true, predicted).

    To resample texts is to draw the cells of the confusion matrix again, so no text is needed.
    """
    import numpy as np

    total, classes = int(counts.sum()), len(counts)
    drawn = np.random.default_rng(seed).multinomial(total, counts.flatten() / total, RESAMPLES).reshape(-1, classes, classes)
    correct = drawn.diagonal(axis1=1, axis2=2)
    f1 = (2 * correct / np.maximum(drawn.sum(axis=1) + drawn.sum(axis=2), 1)).mean(axis=1)
    low, high = np.quantile(f1, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def compare_with_baseline(truth: "np.ndarray", predicted: "np.ndarray", baseline: "np.ndarray", classes: int, seed: int) -> dict[str, Any]:
    """Return the scores of the baseline, and the gain in accuracy over it with the interval of the paired bootstrap.

    truth, predicted, baseline: class ids (texts,).
    """
    import numpy as np
    from sklearn.metrics import f1_score

    gains = (predicted == truth).astype(int) - (baseline == truth).astype(int)
    shares = np.array([(gains == value).mean() for value in (-1, 0, 1)])
    drawn = np.random.default_rng(seed).multinomial(len(gains), shares, RESAMPLES)
    low, high = np.quantile((drawn[:, 2] - drawn[:, 0]) / len(gains), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {
        "accuracy": float((baseline == truth).mean()),
        "f1": float(f1_score(truth, baseline, labels=range(classes), average="macro", zero_division=0)),
        "gain": float(gains.mean()),
        "gain_low": float(low),
        "gain_high": float(high),
        "earns_its_cost": bool(low > 0),
    }
