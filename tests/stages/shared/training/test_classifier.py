"""The classifier has our class names and no dropout, and its evaluation batches are larger than its micro-batches."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.shared.batches import Texts
from stages.shared.training.machine import Machine
from stages.shared.training.recipe import Recipe

MACHINE = Machine("cpu", "fp32", threads=1, processes=1)


def test_classifier_has_our_class_names_and_no_dropout(tiny_base: Path) -> None:
    from stages.shared.training.classifier import load_classifier

    model = load_classifier(tiny_base, ("no", "yes", "so so"), MACHINE, 32, 7)
    assert model.config.id2label == {0: "no", 1: "yes", 2: "so so"}
    assert model.config.label2id == {"no": 0, "yes": 1, "so so": 2}
    assert model.dtype == torch.float32
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    again = load_classifier(tiny_base, ("no", "yes", "so so"), MACHINE, 32, 7)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), again.parameters(), strict=True))


def test_evaluation_batch_has_four_times_the_tokens_of_a_micro_batch() -> None:
    from stages.shared.training.classifier import evaluation_batch_size

    train, validation = (
        Texts(np.zeros(sum(lengths), np.int32), np.cumsum(lengths), np.zeros(len(lengths), np.int64))
        for lengths in ([10] * 8, [20, 100, 10])
    )
    splits = {"train": train, "validation": validation}
    assert evaluation_batch_size(splits, Recipe(1, 64, 1e-4)) == 4 * 64 * 10 // 100
    assert evaluation_batch_size(splits, Recipe(1, 64, 1e-4, parts_of_a_step=4)) == 4 * 16 * 10 // 100
    assert evaluation_batch_size(splits, Recipe(1, 2, 1e-4)) == 1


@pytest.mark.parametrize("resumed", [False, True])
def test_epochs_reach_the_console_once_and_the_run_again_after_a_resume(resumed: bool, caplog: pytest.LogCaptureFixture) -> None:
    from types import SimpleNamespace

    from stages.shared.training.classifier import EpochLog

    rows: list[dict[str, float]] = []
    caplog.set_level("INFO")
    scores = {"eval_cross_entropy": 0.4, "eval_calibrated_cross_entropy": 0.3, "eval_accuracy": 0.9, "eval_f1": 0.8}
    epochs = [{"epoch": number, "loss": 0.5} | scores for number in (1, 2)]
    log = EpochLog(SimpleNamespace(epoch=rows.append), epochs=3)
    log.on_train_begin(None, SimpleNamespace(log_history=epochs[:1] if resumed else []), None)
    log.on_evaluate(None, SimpleNamespace(log_history=epochs), None)
    assert [row["epoch"] for row in rows] == ([1, 2] if resumed else [2])
    assert caplog.messages == [
        "epoch 2 of at most 3: train_loss 0.5000, validation_loss 0.4000, validation_calibrated_loss 0.3000, "
        "validation_accuracy 0.9000, validation_f1 0.8000"
    ]
