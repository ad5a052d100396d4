"""The learning curve of a training: a row of losses and scores per epoch, told from the Trainer's log."""

from typing import TYPE_CHECKING, Any

from serving.inference.probabilities import softmax
from stages.shared.calibration import at_temperature, cross_entropy, fit_temperature

if TYPE_CHECKING:
    import numpy as np

SCORES = {  # as `scores` of train logs them -> as the curve names them
    "cross_entropy": "validation_loss",
    "calibrated_cross_entropy": "validation_calibrated_loss",
    "accuracy": "validation_accuracy",
    "f1": "validation_f1",
}
DECISIVE = "calibrated_cross_entropy"
Curve = list[dict[str, float]]


def learning_curve(history: list[dict[str, Any]]) -> Curve:
    """Merge the Trainer's log into one row per epoch: epoch, train_loss, and validation scores."""
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        row = rows.setdefault(round(entry["epoch"]), {"epoch": round(entry["epoch"])})
        if "loss" in entry:
            row["train_loss"] = entry["loss"]
        row |= {name: entry[f"eval_{logged}"] for logged, name in SCORES.items() if f"eval_{logged}" in entry}
    return [row for row in rows.values() if {"train_loss", "validation_loss"} <= row.keys()]


def best_epoch(curve: Curve, *, last: bool = False) -> dict[str, float]:
    """Return the row with the lowest validation loss of calibrated answers, or the last one, its epoch renamed to best_epoch."""
    best = curve[-1] if last else min(curve, key=lambda row: row[SCORES[DECISIVE]])
    return {("best_epoch" if name == "epoch" else name): value for name, value in best.items()}


def scores(prediction: tuple["np.ndarray", "np.ndarray"]) -> dict[str, float]:
    """Return mean cross-entropy, as it is and once calibrated, accuracy and macro F1 of logits (texts, classes) against label ids (texts,).

    Late epochs are better and too sure of themselves, which costs loss until export calibrates them; doubt, which early epochs have, is
    left as it is. The Trainer's own eval_loss is a mean over the batches of all processes, of which some hold a text twice.
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
