"""The loss of cross-entropy training, with class weights, label smoothing and distillation where params ask for them.

In: logits and labels of a batch. Out: the loss summed over its texts.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.shared.errors import StageError

TEACHER_SHARE = 0.5  # of the loss
DISTILLATION_TEMPERATURE = 2.0  # divides both logits, so that the teacher's probabilities of unlikely classes count too

ClassWeights = Literal["none", "balanced"] | Sequence[float]


class TrainingLoss:
    """Compute the loss of logits (texts, classes) against labels (texts,), summed over the texts.

    weights: (classes,). teacher: logits (rows of the train split, classes), or None. Distillation follows Hinton et al. 2015:
    KL divergence at a temperature, times the square of it, so that the gradients keep their size.
    """

    def __init__(self, weights: Tensor, label_smoothing: float, teacher: Tensor | None) -> None:
        self.weights = weights
        self.label_smoothing = label_smoothing
        self.teacher = teacher

    def __call__(self, logits: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        losses = nn.functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="none")
        if self.teacher is not None:
            target = (self.teacher[rows.cpu()].to(logits.device) / DISTILLATION_TEMPERATURE).log_softmax(-1)
            ours = (logits / DISTILLATION_TEMPERATURE).log_softmax(-1)
            distillation = nn.functional.kl_div(ours, target, reduction="none", log_target=True).sum(-1) * DISTILLATION_TEMPERATURE**2
            losses = (1 - TEACHER_SHARE) * losses + TEACHER_SHARE * distillation
        return (self.weights.to(logits.device)[labels] * losses).sum()


def class_weights(wanted: ClassWeights, labels: NDArray[np.int64], class_names: Sequence[str]) -> Tensor:
    """Return the weight of each class; balanced: texts / (classes * texts of the class), so that all classes count the same.

    Raises StageError if a list does not have one weight for each class, or only zeros for the classes that occur.
    Raises it too if the weights are balanced and a class has no text.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    if wanted == "none":
        return torch.ones(len(class_names))
    if wanted == "balanced":
        if missing := [name for name, count in zip(class_names, counts.tolist(), strict=True) if not count]:
            raise StageError(
                f"train.class_weights is 'balanced', but the train split has no text of {', '.join(missing)}: set it to a list of weights"
            )
        return torch.from_numpy(counts.sum() / (len(class_names) * counts)).float()
    if len(wanted) != len(class_names):
        raise StageError(
            f"train.class_weights has {len(wanted)} weights for {len(class_names)} classes: "
            f"give one weight for each, in the order {', '.join(class_names)}"
        )
    if not np.any(np.asarray(wanted)[counts > 0]):
        raise StageError("train.class_weights is 0 for every class that occurs in the train split: raise one of them above 0")
    return torch.tensor(wanted, dtype=torch.float32)
