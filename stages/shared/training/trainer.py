"""The Trainer of transformers, with steps of about equal tokens, an exact loss, and checkpoints from which it resumes.

In: a model, Texts and training arguments. Out: trained weights and the losses of each epoch.
With several processes a step has the same texts and the same loss, and each process computes its share.
"""

import json
import logging
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments

from stages.shared.batches import NO_LABEL, Texts
from stages.shared.errors import StageError
from stages.shared.training.checkpoints import (
    CheckpointCallback,
    newest_checkpoint,
    remove_incomplete,
    stopping_at_checkpoints,
    write_atomic,
)
from stages.shared.training.machine import Machine
from stages.shared.training.sampler import Batches, EqualTokenSampler

log = logging.getLogger("trainer")

SHORT = 128  # tokens
WEIGHT_DECAY = 0.01  # as in BERT; the few steps of a fine-tuning take under 1 % off a weight

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits (texts, classes), labels (texts,), rows (texts,) -> the sum over the texts


class LossNotFinite(StageError):
    """The loss of a step, or its gradient, is NaN or infinite."""

    def __init__(self, what: str, step: int, rows: Sequence[int], remedy: str) -> None:
        lines = ", ".join(str(row + 2) for row in rows[:8]) + (f" and {len(rows) - 8} more" if rows[8:] else "")
        super().__init__(f"the {what} is not a number in step {step}, with the texts of lines {lines} of the train split: {remedy}")


class ProgressBar(ProgressCallback):
    """The progress bar on a terminal, without the dicts of losses: our log lines have them."""

    def on_log(self, *_: object, **__: object) -> None:
        """Print nothing."""


class BatchTrainer(Trainer, ABC):
    """Train on `Texts` in steps of about equal tokens, with a loss that is a sum over the batch.

    batch_size: mean number of texts in a step. embedding_rate: factor of the learning rate for the token embeddings.
    """

    loss_name: str | None = None  # name of the loss in the log, where it is not the classification loss
    remedy = "lower train.learning_rate or set train.precision to fp32"  # for a loss that is not a number

    def __init__(self, *, batch_size: int, embedding_rate: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.model_accepts_loss_kwargs = True  # the Trainer then passes num_items_in_batch, counted over micro-batches and processes
        self._batch_size = batch_size
        self._embedding_rate = embedding_rate
        self._epoch_loss = torch.zeros(2, dtype=torch.float64)  # of this process, since the epoch began: sum of losses, number of items
        self._step_rows: list[int] = []  # of this process
        self.remove_callback(PrinterCallback)
        if self.pop_callback(ProgressCallback):
            self.add_callback(ProgressBar())

    @abstractmethod
    def total_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Return the training loss of a batch, summed over its items."""

    def sampler(self) -> EqualTokenSampler:
        """Return the sampler of the micro-batches of this process."""
        texts: Texts = self.train_dataset
        return EqualTokenSampler(
            texts.lengths,
            self._batch_size,
            self.args.seed,
            micro_batches=self.args.gradient_accumulation_steps,
            process=self.args.process_index,
            processes=self.args.world_size,
            listener=texts,  # in the first epoch after a resume the Trainer reaches the sampler, but not our loader
        )

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the micro-batches of this process; accelerate must not shard them again."""
        return Batches(
            self.train_dataset,
            batch_sampler=self.sampler(),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the Trainer's optimizer, with a separate group for embeddings that have another learning rate."""
        optimizer = super().create_optimizer(model)
        if self._embedding_rate != 1:
            weights = self.model.get_input_embeddings().weight
            for group in optimizer.param_groups:
                group["params"] = [parameter for parameter in group["params"] if parameter is not weights]
            rate = self.args.learning_rate * self._embedding_rate
            optimizer.add_param_group({"params": [weights], "lr": rate, "weight_decay": 0.0})
        return optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Tensor | int | None = None
    ) -> Any:
        """Return what this micro-batch adds to the mean loss of the step."""
        total = self.total_loss(model, inputs)
        if not math.isfinite(total.item()):
            raise LossNotFinite("loss", self.state.global_step + 1, inputs["row"].tolist(), self.remedy)
        self._step_rows += inputs["row"].tolist()
        items = int((inputs["labels"] != NO_LABEL).sum())
        self._epoch_loss += torch.tensor([total.item(), items], dtype=torch.float64)
        assert num_items_in_batch is not None
        # at least 1, because pre-training may mask no token of short texts; times world_size, because processes average their gradients
        return total * self.args.world_size / max(1, num_items_in_batch)

    def _get_grad_norm(self, model: nn.Module, grad_norm: float | None = None) -> float:
        """Raise LossNotFinite before a gradient that is not a number reaches the weights; fp16 skips such steps itself."""
        norm = super()._get_grad_norm(model, grad_norm)
        rows, self._step_rows = self._step_rows, []
        if not math.isfinite(norm) and not self.args.fp16:  # so in all processes, because the norm is that of the mean gradient
            raise LossNotFinite("gradient", self.state.global_step + 1, sorted(set(gather_object(rows))), self.remedy)
        return norm

    def epoch_loss(self) -> tuple[float, int]:
        """Return the sum of the losses since the epoch began and the number of items, over all processes."""
        sums = self._epoch_loss.clone()
        if self.args.world_size > 1:
            sums = self.accelerator.reduce(sums.to(self.args.device), reduction="sum")
        total, items = sums.tolist()
        return total, int(items)

    def restart_epoch_loss(self, total: float = 0.0, items: int = 0) -> None:
        """Start from zero, or from the sum of a checkpoint."""
        ours = self.is_world_process_zero()
        self._epoch_loss = torch.tensor([total * ours, items * ours], dtype=torch.float64)


class EpochLoss(TrainerCallback):
    """Put the mean training loss of each epoch into the Trainer's log; a checkpoint within an epoch keeps the sum so far."""

    def __init__(self, trainer: BatchTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        last = state.log_history[-1] if state.log_history else {}
        self._trainer.restart_epoch_loss(last.get("loss_sum", 0.0), last.get("items", 0))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_save:
            total, items = self._trainer.epoch_loss()
            state.log_history.append({"epoch": state.epoch, "loss_sum": total, "items": items})

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        total, items = self._trainer.epoch_loss()
        loss, loss_name = total / max(1, items), self._trainer.loss_name
        state.log_history.append({"epoch": state.epoch, f"loss {loss_name}" if loss_name else "loss": loss})
        self._trainer.restart_epoch_loss()
        if loss_name:
            log.info("%s, epoch %d of %d: loss %.4f", loss_name, round(state.epoch), state.num_train_epochs, loss)


def train_from_newest(trainer: BatchTrainer) -> None:
    """Train from the newest checkpoint in the Trainer's folder, or from the start."""
    folder = Path(trainer.args.output_dir)
    callback = CheckpointCallback(trainer.sampler().steps)
    trainer.add_callback(callback)
    trainer.add_callback(EpochLoss(trainer))
    remove_incomplete(folder)
    newest = newest_checkpoint(folder)
    if newest:
        log.info("resuming from %s", newest)
        _adapt(trainer, newest)
    with stopping_at_checkpoints(callback):
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)


def _adapt(trainer: BatchTrainer, checkpoint: Path) -> None:
    """Make the Trainer stop at once if the training had ended; correct the path of the best checkpoint if the project has moved."""
    file = checkpoint / "trainer_state.json"
    state = json.loads(file.read_text("utf-8"))
    if state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]:  # at the last epoch, or by early stopping
        trainer.args.num_train_epochs = round(state["epoch"])
    if best := state["best_model_checkpoint"]:  # an absolute path, but the project may have moved
        state["best_model_checkpoint"] = str(checkpoint.parent / Path(best).name)
        write_atomic(file, json.dumps(state, indent=2).encode())
        PartialState().wait_for_everyone()


def attention(machine: Machine, max_tokens: int) -> str | None:
    """Return the attention implementation; max_tokens: of the longest text.

    Plain attention is the fastest on a CPU, but its memory grows with the square of the length.
    """
    return "eager" if machine.device == "cpu" and max_tokens <= SHORT else None


def without_dropout(model: nn.Module) -> None:
    """Switch the model's dropout off: it gained nothing in so few epochs and cost a tenth of the time (docs/lab/training.md)."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def arguments(machine: Machine, **options: Any) -> TrainingArguments:
    """Return the arguments that all our trainings share; device and precision come from the machine."""
    on_cpu = machine.device == "cpu"
    shared = TrainingArguments(
        bf16=machine.precision == "bf16",
        fp16=machine.precision == "fp16",
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and machine.processes != 1 else None,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=machine.device == "cuda",
        remove_unused_columns=False,
        label_names=["labels"],
        weight_decay=WEIGHT_DECAY,
        logging_strategy="no",
        report_to="none",
        restore_callback_states_from_checkpoint=True,
        disable_tqdm=not sys.stderr.isatty(),
        **options,
    )
    if shared.n_gpu > 1:  # one process would use all of them by default, and the weights would depend on their number
        log.info("training uses one of %d GPUs; SENTIMENT_LAUNCH uses them all (docs/how-to/several-processes.md)", shared.n_gpu)
        shared._n_gpu = 1
    return shared
