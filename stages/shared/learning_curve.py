"""The learning curve of a training: a row of losses and scores per epoch, told from the Trainer's log."""

from typing import Any

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
