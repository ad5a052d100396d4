"""The classifier that `train` fine-tunes: the base with a new head, its Trainer, and what is told of each epoch."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, TrainerCallback, set_seed

from stages.shared.batches import Texts
from stages.shared.training.learning_curve import learning_curve, scores
from stages.shared.training.recipe import Recipe
from stages.shared.training.trainer import BatchTrainer, Loss, attention, without_dropout

if TYPE_CHECKING:
    from stages.shared.tracking import TrainingRun

log = logging.getLogger("train")

ANSWERED = 4  # times the tokens of a batch that is learnt from, for one that is only answered: nothing is kept of it


def load_classifier(
    base_dir: Path, class_names: tuple[str, ...], machine: Mapping[str, str | int], longest: int, seed: int
) -> PreTrainedModel:
    """Load the encoder with a new head, in fp32 and without dropout.

    longest: tokens of a text.
    """
    set_seed(seed)
    id2label = dict(enumerate(class_names))
    model = AutoModelForSequenceClassification.from_pretrained(
        base_dir,
        dtype=torch.float32,
        num_labels=len(class_names),
        id2label=id2label,
        label2id={name: number for number, name in id2label.items()},
        attn_implementation=attention(machine, longest),
    )
    without_dropout(model)
    return model


def texts_at_once(texts: Mapping[str, Texts], chosen: Recipe) -> int:
    """Return how many texts a batch that is only answered may hold, by the tokens of a batch of training texts and the longest text."""
    tokens = ANSWERED * chosen.texts_a_step / chosen.parts_of_a_step * float(texts["train"].lengths.mean())
    return max(1, int(tokens / max(float(split.lengths.max()) for split in texts.values())))


class ClassifierTrainer(BatchTrainer):
    """Trainer of a sequence classifier. Evaluation reports `scores`, whatever the loss of training is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(compute_metrics=scores, **options)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Tensor | int | None = None
    ) -> Any:
        if model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        logits = self._logits(model, inputs)
        loss = nn.functional.cross_entropy(logits, inputs["labels"])
        return (loss, {"logits": logits}) if return_outputs else loss

    @staticmethod
    def _logits(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        return model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits.float()


class CrossEntropyTrainer(ClassifierTrainer):
    """Trainer whose loss is that of the answers against the labels."""

    def __init__(self, *, loss: Loss, **options: Any) -> None:
        super().__init__(**options)
        self._loss = loss

    def total_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        return self._loss(self._logits(model, inputs), inputs["labels"], inputs["row"])


class EpochLog(TrainerCallback):
    """Tell each epoch to the console, and to MLflow where there is a run; one that is gone on with hears of its first epochs too."""

    def __init__(self, run_log: "TrainingRun | None", epochs: int) -> None:
        self._run_log = run_log
        self._epochs = epochs

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for row in learning_curve(state.log_history):
            self._mirror(row)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        row = learning_curve(state.log_history)[-1]
        told = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
        log.info("epoch %d of at most %d: %s", row["epoch"], self._epochs, told)
        self._mirror(row)

    def _mirror(self, row: Mapping[str, float]) -> None:
        if self._run_log:
            self._run_log.epoch(row)
