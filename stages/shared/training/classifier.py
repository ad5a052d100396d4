"""The classifier that `train` fine-tunes: the base model with a new head, its trainers, and the log of its epochs.

In: the folder of a base model, class names and the machine. Out: a model, and Trainers of it.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, TrainerCallback, set_seed

from stages.shared.batches import Texts
from stages.shared.training.learning_curve import learning_curve, scores
from stages.shared.training.machine import Machine
from stages.shared.training.recipe import Recipe
from stages.shared.training.trainer import BatchTrainer, Loss, attention, without_dropout

if TYPE_CHECKING:
    from stages.shared.tracking import TrainingRun

log = logging.getLogger("classifier")

EVALUATION_FACTOR = 4  # tokens of an evaluation batch to those of a micro-batch: evaluation keeps no activations


def load_classifier(base_dir: Path, class_names: tuple[str, ...], machine: Machine, max_tokens: int, seed: int) -> PreTrainedModel:
    """Load the encoder with a new head, in fp32 and without dropout; max_tokens: tokens of the longest text."""
    set_seed(seed)
    id2label = dict(enumerate(class_names))
    model = AutoModelForSequenceClassification.from_pretrained(
        base_dir,
        dtype=torch.float32,
        num_labels=len(class_names),
        id2label=id2label,
        label2id={name: class_id for class_id, name in id2label.items()},
        attn_implementation=attention(machine, max_tokens),
    )
    without_dropout(model)
    return model


def evaluation_batch_size(texts: Mapping[str, Texts], chosen: Recipe) -> int:
    """Return the texts of an evaluation batch: EVALUATION_FACTOR times the tokens of a mean micro-batch, by the longest text."""
    tokens = EVALUATION_FACTOR * chosen.texts_a_step / chosen.parts_of_a_step * float(texts["train"].lengths.mean())
    return max(1, int(tokens / max(float(split.lengths.max()) for split in texts.values())))


class ClassifierTrainer(BatchTrainer):
    """Train a sequence classifier. Evaluation reports `scores`, whatever the training loss is."""

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
    """Train on labels: the loss compares the logits with them."""

    def __init__(self, *, loss: Loss, **options: Any) -> None:
        super().__init__(**options)
        self._loss = loss

    def total_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        return self._loss(self._logits(model, inputs), inputs["labels"], inputs["row"])


class EpochLog(TrainerCallback):
    """Log each epoch to the console, and to MLflow if there is a run; a resumed run gets its earlier epochs again."""

    def __init__(self, run_log: "TrainingRun | None", epochs: int) -> None:
        self._run_log = run_log
        self._epochs = epochs

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for row in learning_curve(state.log_history):
            self._mirror(row)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        row = learning_curve(state.log_history)[-1]
        values = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
        log.info("epoch %d of at most %d: %s", row["epoch"], self._epochs, values)
        self._mirror(row)

    def _mirror(self, row: Mapping[str, float]) -> None:
        if self._run_log:
            self._run_log.epoch(row)
