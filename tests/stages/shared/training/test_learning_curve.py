"""The learning curve as the Trainer's log tells it."""

from stages.shared.training.learning_curve import best_epoch, learning_curve


def test_learning_curve_merges_the_log_and_the_first_lowest_calibrated_loss_is_best() -> None:
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
