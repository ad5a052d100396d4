"""Class weights, label smoothing and distillation change the loss as torch and the formulas say."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stages.shared.errors import StageError
from stages.shared.training.loss import DISTILLATION_TEMPERATURE, TrainingLoss, class_weights
from tests.running import read_json, write_params
from tests.stages.training import TINY_TRAINING, Training

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 1.0, 1.0]])
LABELS = torch.tensor([0, 2, 1])
ROWS = torch.tensor([2, 0, 1])
NAMES = ("a", "b", "c")


def test_plain_loss_is_the_cross_entropy() -> None:
    assert TrainingLoss(torch.ones(3), 0.0, None)(LOGITS, LABELS, ROWS) == nn.functional.cross_entropy(LOGITS, LABELS, reduction="sum")


def test_smoothing_is_that_of_torch() -> None:
    expected = nn.functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.1, reduction="sum")
    assert TrainingLoss(torch.ones(3), 0.1, None)(LOGITS, LABELS, ROWS) == pytest.approx(expected)


def test_weights_scale_the_loss_of_each_class() -> None:
    each = nn.functional.cross_entropy(LOGITS, LABELS, reduction="none")
    expected = 2 * each[0] + 0.5 * each[1] + 3 * each[2]
    assert TrainingLoss(torch.tensor([2.0, 3.0, 0.5]), 0.0, None)(LOGITS, LABELS, ROWS) == pytest.approx(expected)


def test_teacher_with_equal_logits_adds_nothing_to_its_share_of_the_loss() -> None:
    teacher = torch.empty(3, 3)
    teacher[ROWS] = LOGITS
    assert TrainingLoss(torch.ones(3), 0.0, teacher)(LOGITS, LABELS, ROWS) == pytest.approx(
        0.5 * nn.functional.cross_entropy(LOGITS, LABELS, reduction="sum")
    )


def test_teacher_pulls_the_logits_towards_its_own() -> None:
    teacher = torch.tensor([[0.0, 4.0, 0.0]] * 3)
    logits = LOGITS.clone().requires_grad_()
    TrainingLoss(torch.ones(3), 0.0, teacher)(logits, torch.tensor([0, 2, 0]), ROWS).backward()
    assert (logits.grad[:, 1] < 0).all()  # the class that no label has
    wrong = LOGITS.clone().requires_grad_()
    TrainingLoss(torch.ones(3), 0.0, -teacher)(wrong, torch.tensor([0, 2, 0]), ROWS).backward()
    assert (wrong.grad[:, 1] > logits.grad[:, 1]).all()


def test_distillation_is_the_divergence_at_the_distillation_temperature() -> None:
    teacher = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    p, q = (teacher[ROWS] / DISTILLATION_TEMPERATURE).softmax(-1), (LOGITS / DISTILLATION_TEMPERATURE).softmax(-1)
    divergence = (p * (p / q).log()).sum() * DISTILLATION_TEMPERATURE**2
    expected = 0.5 * nn.functional.cross_entropy(LOGITS, LABELS, reduction="sum") + 0.5 * divergence
    assert TrainingLoss(torch.ones(3), 0.0, teacher)(LOGITS, LABELS, ROWS) == pytest.approx(expected)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 70 + [1] * 20 + [2] * 10)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights("balanced", labels, NAMES).tolist() == pytest.approx(expected.tolist())
    assert class_weights("none", labels, NAMES).tolist() == [1, 1, 1]
    assert class_weights([1, 0.5, 2], labels, NAMES).tolist() == [1, 0.5, 2]


def test_weights_that_do_not_fit_the_classes_are_refused() -> None:
    labels = np.array([0, 1])
    with pytest.raises(StageError, match="2 weights for 3 classes: give one weight for each, in the order a, b, c"):
        class_weights([1, 2], labels, NAMES)
    with pytest.raises(StageError, match="is 0 for every class that occurs in the train split"):
        class_weights([0, 0, 1], labels, NAMES)
    with pytest.raises(StageError, match="no text of c: set it to a list"):
        class_weights("balanced", labels, NAMES)


def curve_of(splits: Path, base: Path, root: Path, **changes: object) -> list[dict[str, float]]:
    """Train with changed params and return the learning curve."""
    root.mkdir()
    training = Training(splits, base, root, write_params(root / "params.yaml", {"train": TINY_TRAINING | changes}))
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.stderr
    return read_json(training.root / "train.json")["curve"]


def test_label_smoothing_of_params_reaches_the_loss(tiny_model: Path, tiny_base: Path, tmp_path: Path) -> None:
    plain, smooth = (
        min(row["train_loss"] for row in curve_of(tiny_model, tiny_base, tmp_path / str(share), label_smoothing=share))
        for share in (0.0, 0.2)
    )
    assert plain < 0.1
    assert smooth > 0.325  # the entropy of 0.9 and 0.1, a lower bound of the loss


@pytest.fixture(scope="module")
def rare_class(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Splits whose labels the tiny model cannot predict for sure; one train label in five is negative."""
    folder = tmp_path_factory.mktemp("rare_class")
    for name in ("classes.json", "preprocess.json"):
        shutil.copy(tiny_model / name, folder)
    words = ("film", "food", "phone", "staff")
    rows = [(f"the {words[number % 4]} was good {number}", int(number % 10 != 0)) for number in range(200)]
    rows += [(f"the {words[number % 4]} was bad {number}", int(number % 10 > 2)) for number in range(200)]
    validation = [(text, int(" good " in text)) for text, _ in rows[::5]]
    for name, split in (("train", rows), ("validation", validation)):
        lines = ["text,label", *(f"{text},{label}" for text, label in split)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.mark.parametrize("epochs", [12, "auto"], ids=["cross-entropy", "contrastive"])
def test_balanced_weights_find_the_rare_class(rare_class: Path, tiny_base: Path, tmp_path: Path, epochs: object) -> None:
    plain, balanced = (
        max(row["validation_f1"] for row in curve_of(rare_class, tiny_base, tmp_path / weights, class_weights=weights, epochs=epochs))
        for weights in ("none", "balanced")
    )
    assert balanced > plain + 0.1
