"""The learning curve of a training: a row of losses and scores for each epoch.

In: the Trainer's log, or the logits of the validation split. Out: the rows of metrics/train.json, the best one, and the scores.
"""

from typing import TYPE_CHECKING, Any

from serving.inference.probabilities import softmax
from stages.shared.calibration import at_temperature, cross_entropy, fit_temperature

if TYPE_CHECKING:
    import numpy as np

SCORES = {  # name in the Trainer's log, as `scores` returns it -> name in the curve
    "cross_entropy": "validation_loss",
    "calibrated_cross_entropy": "validation_calibrated_loss",
    "accuracy": "validation_accuracy",
    "f1": "validation_f1",
}
DECISIVE = "calibrated_cross_entropy"  # the score that chooses the epoch
Curve = list[dict[str, float]]


def learning_curve(history: list[dict[str, Any]]) -> Curve:
    """Merge the Trainer's log into one row for each epoch: epoch, train_loss and validation scores."""
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        row = rows.setdefault(round(entry["epoch"]), {"epoch": round(entry["epoch"])})
        if "loss" in entry:
            row["train_loss"] = entry["loss"]
        row |= {name: entry[f"eval_{logged}"] for logged, name in SCORES.items() if f"eval_{logged}" in entry}
    return [row for row in rows.values() if {"train_loss", "validation_loss"} <= row.keys()]


def best_epoch(curve: Curve, *, last: bool = False) -> dict[str, float]:
    """Return the row with the lowest calibrated validation loss, its epoch renamed to best_epoch.

    last: return the last row instead.
    """
    best = curve[-1] if last else min(curve, key=lambda row: row[SCORES[DECISIVE]])
    return {("best_epoch" if name == "epoch" else name): value for name, value in best.items()}


def scores(prediction: tuple["np.ndarray", "np.ndarray"]) -> dict[str, float]:
    """Return mean cross-entropy before and after calibration, accuracy and macro F1.

    prediction: logits (texts, classes) and label ids (texts,).
    Late epochs are more accurate but over-confident. The calibrated loss ignores that, because `export` corrects it.
    Early epochs are under-confident. The calibrated loss counts that, because its temperature is at least 1.
    The Trainer's own eval_loss is not used: it is a mean over the batches of all processes, and some batches hold a text twice.
    """
    from sklearn.metrics import accuracy_score, f1_score

    logits, labels = prediction
    predicted = logits.argmax(axis=-1)
    probabilities = softmax(logits)
    calibrated = at_temperature(probabilities, max(1.0, fit_temperature(probabilities, labels)))
    return {
        "cross_entropy": cross_entropy(probabilities, labels),
        "calibrated_cross_entropy": cross_entropy(calibrated, labels),
        "accuracy": float(accuracy_score(labels, predicted)),
        "f1": float(f1_score(labels, predicted, labels=range(logits.shape[-1]), average="macro", zero_division=0)),
    }
