"""What class weights, label smoothing and a teacher do to the loss, against torch's own and the formulas."""

import numpy as np
import pytest
import torch
from torch import nn

from stages.shared.errors import StageError
from stages.shared.training.loss import TEMPERATURE, TrainingLoss, class_weights

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


def test_teacher_who_answers_the_same_adds_nothing_but_her_share() -> None:
    teacher = torch.empty(3, 3)
    teacher[ROWS] = LOGITS
    assert TrainingLoss(torch.ones(3), 0.0, teacher)(LOGITS, LABELS, ROWS) == pytest.approx(
        0.5 * nn.functional.cross_entropy(LOGITS, LABELS, reduction="sum")
    )


def test_teacher_pulls_towards_her_own_answers() -> None:
    teacher = torch.tensor([[0.0, 4.0, 0.0]] * 3)
    logits = LOGITS.clone().requires_grad_()
    TrainingLoss(torch.ones(3), 0.0, teacher)(logits, torch.tensor([0, 2, 0]), ROWS).backward()
    assert (logits.grad[:, 1] < 0).all()  # of a class that no label is of
    wrong = LOGITS.clone().requires_grad_()
    TrainingLoss(torch.ones(3), 0.0, -teacher)(wrong, torch.tensor([0, 2, 0]), ROWS).backward()
    assert (wrong.grad[:, 1] > logits.grad[:, 1]).all()


def test_teachers_part_is_the_divergence_at_the_temperature() -> None:
    teacher = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    p, q = (teacher[ROWS] / TEMPERATURE).softmax(-1), (LOGITS / TEMPERATURE).softmax(-1)
    divergence = (p * (p / q).log()).sum() * TEMPERATURE**2
    expected = 0.5 * nn.functional.cross_entropy(LOGITS, LABELS, reduction="sum") + 0.5 * divergence
    assert TrainingLoss(torch.ones(3), 0.0, teacher)(LOGITS, LABELS, ROWS) == pytest.approx(expected)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 70 + [1] * 20 + [2] * 10)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights("balanced", labels, NAMES).tolist() == pytest.approx(expected.tolist())
    assert class_weights("none", labels, NAMES).tolist() == [1, 1, 1]
    assert class_weights([1, 0.5, 2], labels, NAMES).tolist() == [1, 0.5, 2]


def test_weights_that_do_not_fit_are_refused() -> None:
    labels = np.array([0, 1])
    with pytest.raises(StageError, match="2 weights for 3 classes: give one each, in the order a, b, c"):
        class_weights([1, 2], labels, NAMES)
    with pytest.raises(StageError, match="gives nothing to any class that the train split has texts of"):
        class_weights([0, 0, 1], labels, NAMES)
    with pytest.raises(StageError, match="no text of c"):
        class_weights("balanced", labels, NAMES)
