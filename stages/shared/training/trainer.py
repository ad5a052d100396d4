"""The Trainer of transformers, with steps of equal cost, a loss that is told exactly, and one way to stop that loses nothing.

One process or many (torchrun, accelerate launch): a step has the same texts and the same loss, each process computes a share.
"""

import json
import logging
import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from serving.inference.cpu import usable_cores
from stages.shared.batches import NO_CLASS, Texts
from stages.shared.errors import StageError
from stages.shared.training.checkpoints import CheckpointCallback, newest_checkpoint, put, remove_incomplete, stopping_at_checkpoints
from stages.shared.training.memory import keep_freed_memory
from stages.shared.training.sampler import Batches, EqualTokenSampler

log = logging.getLogger("train")

SHORT = 128  # tokens
WEIGHT_DECAY = 0.01  # that of BERT; in the few steps of a fine-tuning it takes under 1 % of a weight

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits (texts, classes), labels (texts,), rows (texts,) -> the sum over the texts


class LossNotFinite(StageError):
    """A step whose loss, or its gradient, is no number."""

    def __init__(self, what: str, step: int, rows: Sequence[int], remedy: str) -> None:
        lines = ", ".join(str(row + 2) for row in rows[:8]) + (f" and {len(rows) - 8} more" if rows[8:] else "")
        super().__init__(
            f"the {what} is not a number in step {step}, whose batch holds the texts of lines {lines} of the train split: {remedy}"
        )


class BatchTrainer(Trainer, ABC):
    """Trainer over `Texts` in steps of equal cost, whose loss is a sum over the batch.

    batch_size: texts of a step on average. embedding_rate: what the learning rate is multiplied by for the embeddings of pieces.
    """

    loss_name: str | None = None  # by the console, of a training whose loss is not that of the answers, and so is told by its own name
    remedy = "lower train.learning_rate or set train.precision to fp32"  # of a loss that is no number

    def __init__(self, *, batch_size: int, embedding_rate: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.model_accepts_loss_kwargs = True  # so that num_items_in_batch is counted over parts and processes, and given to us
        self._batch_size = batch_size
        self._embedding_rate = embedding_rate
        self._epoch_loss = torch.zeros(2, dtype=torch.float64)  # sum of this process since the epoch began, items
        self._rows: list[int] = []  # of the step, as far as this process computes it
        self.remove_callback(PrinterCallback)

    @abstractmethod
    def total_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch in training, summed over its items."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of this process, which are not to be sharded again."""
        return Batches(
            self.train_dataset,
            batch_sampler=self._sampler(),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the Trainer's optimizer with a group of its own for embeddings that learn at another rate."""
        optimizer = super().create_optimizer(model)
        if self._embedding_rate != 1:
            weights = self.model.get_input_embeddings().weight
            for group in optimizer.param_groups:
                group["params"] = [parameter for parameter in group["params"] if parameter is not weights]
            rate = self.args.learning_rate * self._embedding_rate
            optimizer.add_param_group({"params": [weights], "lr": rate, "weight_decay": 0.0})
        return optimizer

    def steps_per_epoch(self) -> int:
        return self._sampler().steps

    def _sampler(self) -> EqualTokenSampler:
        texts: Texts = self.train_dataset
        return EqualTokenSampler(
            texts.lengths,
            self._batch_size,
            self.args.seed,
            parts=self.args.gradient_accumulation_steps,
            process=self.args.process_index,
            processes=self.args.world_size,
            told=texts,  # by the sampler, for a loader that skips what a checkpoint has seen does not pass it on
        )

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Tensor | int | None = None
    ) -> Any:
        """Return the mean over the items of the whole step, of which this batch may be a part."""
        total = self.total_loss(model, inputs)
        if not math.isfinite(total.item()):
            raise LossNotFinite("loss", self.state.global_step + 1, inputs["row"].tolist(), self.remedy)
        self._rows += inputs["row"].tolist()
        items = int((inputs["labels"] != NO_CLASS).sum())
        self._epoch_loss += torch.tensor([total.item(), items], dtype=torch.float64)
        assert num_items_in_batch is not None
        # a warm-up on short texts may hide no piece at all; the gradients of the processes are averaged
        return total * self.args.world_size / max(1, num_items_in_batch)

    def _get_grad_norm(self, model: nn.Module, grad_norm: float | None = None) -> float:
        """Raise LossNotFinite before a gradient that is no number reaches the weights; fp16 itself leaves such steps out."""
        norm = super()._get_grad_norm(model, grad_norm)
        rows, self._rows = self._rows, []
        if not math.isfinite(norm) and not self.args.fp16:
            raise LossNotFinite("gradient", self.state.global_step + 1, sorted(set(gather_object(rows))), self.remedy)  # all have it
        return norm

    def epoch_loss(self) -> tuple[float, int]:
        """Return the sum of the losses since the epoch began and the number of items, of all processes."""
        sums = self._epoch_loss.clone()
        if self.args.world_size > 1:
            sums = self.accelerator.reduce(sums.to(self.args.device), reduction="sum")
        total, items = sums.tolist()
        return total, int(items)

    def restart_epoch_loss(self, total: float = 0.0, items: int = 0) -> None:
        """Begin to count anew, or go on from what a checkpoint held."""
        ours = self.is_world_process_zero()
        self._epoch_loss = torch.tensor([total * ours, items * ours], dtype=torch.float64)


class EpochLoss(TrainerCallback):
    """Put the mean training loss of each epoch into the Trainer's log, and carry its sum over a checkpoint within the epoch."""

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
    keeper = CheckpointCallback(trainer.steps_per_epoch())
    trainer.add_callback(keeper)
    trainer.add_callback(EpochLoss(trainer))
    remove_incomplete(Path(trainer.args.output_dir))
    newest = newest_checkpoint(Path(trainer.args.output_dir))
    if newest:
        log.info("going on from %s", newest)
        state = json.loads((newest / "trainer_state.json").read_text("utf-8"))
        if state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]:  # it had ended, early perhaps
            trainer.args.num_train_epochs = round(state["epoch"])
        if best := state["best_model_checkpoint"]:  # as an absolute path, and the project may have been moved since
            state["best_model_checkpoint"] = str(newest.parent / Path(best).name)
            put(newest / "trainer_state.json", json.dumps(state, indent=2).encode())
            PartialState().wait_for_everyone()
    with stopping_at_checkpoints(keeper):
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)


def resolve_machine(precision: str, threads: int | str) -> dict[str, str | int]:
    """Find device, precision, threads and processes, set the threads, and refuse a precision that the device has not."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() and processes == 1 else "cpu"
    has_bf16 = {
        "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
        "mps": lambda: False,
        "cpu": lambda: bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16")),
    }[device]()
    if precision == "auto":
        precision = "bf16" if has_bf16 else "fp32"
    if (precision == "fp16" and device != "cuda") or (precision == "bf16" and not has_bf16):
        raise StageError(f"train.precision is '{precision}': this {device} cannot train in it, set it to auto or fp32")
    if threads == "auto":
        threads = max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    PartialState(cpu=device == "cpu", **({"backend": "gloo"} if device == "cpu" and processes > 1 else {}))
    torch.set_num_threads(int(threads))
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no" if precision == "fp32" else precision  # the launcher's word would go before ours
    keep_freed_memory()
    return {"device": device, "precision": precision, "threads": int(threads), "processes": processes}


def attention(machine: Mapping[str, str | int], longest: int) -> str | None:
    """Return the attention for texts of so many tokens at most: a CPU is fastest with the plain one, which takes memory by their square."""
    return "eager" if machine["device"] == "cpu" and longest <= SHORT else None


def without_dropout(model: nn.Module) -> None:
    """Switch its dropout off, which gained nothing in so few epochs and cost a tenth of the time (docs/lab/training.md)."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def arguments(machine: Mapping[str, str | int], **options: Any) -> TrainingArguments:
    """Return the arguments that all our trainings share; the device and the precision are the machine's."""
    shared = TrainingArguments(
        bf16=machine["precision"] == "bf16",
        fp16=machine["precision"] == "fp16",
        use_cpu=machine["device"] == "cpu",
        ddp_backend="gloo" if machine["device"] == "cpu" and machine["processes"] != 1 else None,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=machine["device"] == "cuda",
        remove_unused_columns=False,
        label_names=["labels"],
        weight_decay=WEIGHT_DECAY,
        logging_strategy="no",
        report_to="none",
        restore_callback_states_from_checkpoint=True,
        disable_tqdm=not sys.stderr.isatty(),
        **options,
    )
    if shared.n_gpu > 1:  # the Trainer would use all of them in one process, unasked, and the weights would hang on their number
        log.info("one of %d GPUs is used: SENTIMENT_LAUNCH uses them all (docs/results/scaling.md)", shared.n_gpu)
        shared._n_gpu = 1
    return shared
