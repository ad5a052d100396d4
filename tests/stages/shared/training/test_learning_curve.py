"""The Trainer's log becomes the learning curve, and its scores are those of scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss

from stages.shared.training.learning_curve import best_epoch, learning_curve, scores


def test_curve_merges_the_log_and_the_first_epoch_with_the_lowest_calibrated_loss_is_best() -> None:
    history = []
    for epoch, loss in enumerate([0.7, 0.5, 0.5, 0.6], 1):
        history.append({"epoch": float(epoch), "loss": loss / 2, "grad_norm": 1.0, "learning_rate": 0.1, "step": 3 * epoch})
        scores = {"eval_cross_entropy": 2 - loss, "eval_calibrated_cross_entropy": loss, "eval_accuracy": 0.9, "eval_f1": 0.8}
        history.append({"epoch": float(epoch), **scores, "eval_runtime": 0.1})
    history.append({"epoch": 4.0, "train_runtime": 1.0, "train_loss": 0.3})
    curve = learning_curve(history)
    scores = {"validation_loss": 1.3, "validation_calibrated_loss": 0.7, "validation_accuracy": 0.9, "validation_f1": 0.8}
    assert curve[0] == {"epoch": 1, "train_loss": 0.35, **scores}
    assert [row["epoch"] for row in curve] == [1, 2, 3, 4]
    assert best_epoch(curve)["best_epoch"] == 2
    assert best_epoch(curve, last=True)["best_epoch"] == 4


def test_calibrated_loss_forgives_over_confidence_but_not_under_confidence() -> None:
    logits, labels = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]]), np.array([0, 0, 0, 0])  # three of four are right
    confident, hesitant = scores((20 * logits, labels)), scores((0.1 * logits, labels))
    best = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    assert confident["calibrated_cross_entropy"] == pytest.approx(best, abs=1e-3)
    assert confident["cross_entropy"] > 2
    assert hesitant["calibrated_cross_entropy"] == pytest.approx(hesitant["cross_entropy"])


def test_scores_are_those_of_scikit_learn_and_a_class_without_texts_counts_in_f1() -> None:
    logits, labels = np.array([[2.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0]]), np.array([0, 1, 1])
    found = scores((logits, labels))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found["cross_entropy"] == pytest.approx(log_loss(labels, shares, labels=[0, 1, 2]))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(f1_score(labels, [0, 1, 0], labels=[0, 1, 2], average="macro", zero_division=0))
