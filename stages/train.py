"""Fine-tune the base model into a text classifier with the Hugging Face Trainer.

Reads: train and validation splits, models/base, the train section and the class names of params.yaml.
Writes: models/final (AutoModelForSequenceClassification loads it, id2label are the class names), metrics/train.json with
the learning curve, and its picture. Checkpoints lie under models/checkpoints of the main checkout while it runs.
"""

import json
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from serving.inference.hashing import file_sha256
from serving.inference.machine import usable_cores
from stages.shared import command, coverage, lineage, params, plots, tables, tracking
from stages.shared.checkpoints import checkpoint_folder, newest_checkpoint
from stages.shared.classes import load_class_names
from stages.shared.errors import StageError
from stages.shared.learning_curve import best_epoch, learning_curve
from stages.shared.outputs import whole_folder, write_metrics
from stages.shared.tokenizer import load_tokenizer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments

log = logging.getLogger("train")


class TrainParams(params.Section):
    epochs: Annotated[int, Field(ge=1, le=1000)]
    batch_size: Annotated[int, Field(ge=1, le=4096)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, lt=1)]
    max_length: Annotated[int, Field(ge=8, le=8192)]
    early_stopping_patience: Annotated[int, Field(ge=1)]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True)
class Paths(command.Paths):
    train: Annotated[Path, "split to learn from"]
    validation: Annotated[Path, "split that chooses the best epoch"]
    base: Annotated[Path, "folder of the base model"]
    model: Annotated[Path, "folder to write"]
    metrics: Annotated[Path, "JSON to write"]
    picture: Annotated[Path, "learning curve to draw as PNG"]
    preprocess_metrics: Annotated[Path, "JSON of preprocess, mirrored to MLflow only"]


def run(settings: TrainParams, class_names: tuple[str, ...], paths: Paths, run_log: tracking.TrainingRun) -> None:
    """Tokenize, train, keep the best epoch, write the model and what was measured on the way."""
    machine = resolve_machine(settings)
    splits = {name: tables.read_split(getattr(paths, name), class_names) for name in ("train", "validation")}
    tokenizer = load_tokenizer(paths.base, settings.max_length, "train.max_length")
    covered = coverage.measure(tokenizer, splits["train"]["text"])
    coverage.warn(log, covered)
    datasets = {name: tokenize(frame, tokenizer) for name, frame in splits.items()}
    origin = {
        "base": lineage.folder_sha256(paths.base),
        "train": file_sha256(paths.train),
        "validation": file_sha256(paths.validation),
        "params": lineage.value_sha256({**settings.model_dump(), "classes": class_names, "machine": machine}),
        "code": lineage.code_sha256(),
    }
    with checkpoint_folder(lineage.value_sha256(origin)) as checkpoints_dir, whole_folder(paths.model) as draft_dir:
        trainer = make_trainer(settings, class_names, machine, paths.base, tokenizer, datasets, checkpoints_dir)
        trainer.add_callback(_epoch_log(run_log, settings.epochs))
        with _out_of_memory_explained():
            trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints_dir))
        save_model(trainer, tokenizer, origin, draft_dir)
        model_sha256 = file_sha256(draft_dir / "model.safetensors")
        curve = learning_curve(trainer.state.log_history)
        figures = {**best_epoch(curve), "epochs_run": len(curve), "machine": machine, "coverage": covered, "curve": curve}
        write_metrics(paths.metrics, figures)
        plots.learning_curve(curve, paths.picture)
    run_log.finish(model_sha256, origin, metrics_files=[paths.metrics, paths.preprocess_metrics], pictures=[paths.picture])


def resolve_machine(settings: TrainParams) -> dict[str, str | int]:
    """Find device, precision and threads, set the threads, and refuse a precision that the device has not."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    has_bf16 = {
        "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
        "mps": lambda: False,
        "cpu": lambda: bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16")),
    }[device]()
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if has_bf16 else "fp32"
    if (precision == "fp16" and device != "cuda") or (precision == "bf16" and not has_bf16):
        raise StageError(f"train.precision is '{precision}': this {device} cannot train in it, set it to auto or fp32")
    threads = usable_cores() if settings.threads == "auto" else settings.threads
    torch.set_num_threads(threads)
    return {"device": device, "precision": precision, "threads": threads}


def tokenize(frame: "pd.DataFrame", tokenizer: "PreTrainedTokenizerBase") -> "Dataset":
    """Return a data set of input_ids, attention_mask, labels and length; nothing is padded."""
    from datasets import Dataset

    encoded = tokenizer(frame["text"].tolist(), truncation=True, max_length=tokenizer.model_max_length, return_token_type_ids=False)
    columns = {**encoded, "labels": frame["label"].tolist(), "length": [len(ids) for ids in encoded["input_ids"]]}
    return Dataset.from_dict(columns)


def make_trainer(
    settings: TrainParams,
    class_names: tuple[str, ...],
    machine: dict[str, str | int],
    base_dir: Path,
    tokenizer: "PreTrainedTokenizerBase",
    datasets: "dict[str, Dataset]",
    checkpoints_dir: Path,
) -> "Trainer":
    """Build the Trainer: batches grouped by length and padded to their own longest text, best epoch by validation loss."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        DataCollatorWithPadding,
        EarlyStoppingCallback,
        PrinterCallback,
        Trainer,
        set_seed,
    )

    set_seed(settings.seed)
    id2label = dict(enumerate(class_names))
    model = AutoModelForSequenceClassification.from_pretrained(
        base_dir,
        dtype=torch.float32,
        num_labels=len(class_names),
        id2label=id2label,
        label2id={name: number for number, name in id2label.items()},
    )
    trainer = Trainer(
        model=model,
        args=_arguments(settings, machine, checkpoints_dir),
        train_dataset=datasets["train"],
        eval_dataset=datasets["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=scores,
        callbacks=[EarlyStoppingCallback(settings.early_stopping_patience)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(settings: TrainParams, machine: dict[str, str | int], checkpoints_dir: Path) -> "TrainingArguments":
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(checkpoints_dir),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=4 * settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
        bf16=machine["precision"] == "bf16",
        fp16=machine["precision"] == "fp16",
        use_cpu=machine["device"] == "cpu",
        dataloader_pin_memory=machine["device"] == "cuda",
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        report_to="none",
        restore_callback_states_from_checkpoint=True,
        disable_tqdm=not sys.stderr.isatty(),
    )


def scores(prediction: "tuple[np.ndarray, np.ndarray]") -> dict[str, float]:
    """Return accuracy and macro F1 of logits (texts, classes) against label ids (texts,)."""
    from sklearn.metrics import accuracy_score, f1_score

    logits, labels = prediction
    predicted = logits.argmax(axis=-1)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "f1": float(f1_score(labels, predicted, labels=range(logits.shape[-1]), average="macro", zero_division=0)),
    }


def save_model(trainer: "Trainer", tokenizer: "PreTrainedTokenizerBase", origin: dict[str, str], folder: Path) -> None:
    """Write weights, config, tokenizer and lineage; training_args.bin would hold a path of this machine, so it is left out."""
    trainer.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "lineage.json").write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", "utf-8")


def _epoch_log(run_log: tracking.TrainingRun, epochs: int) -> "TrainerCallback":
    """Build the callback that tells each epoch to the console and to MLflow, and stops on a loss that is no number."""
    from transformers import TrainerCallback

    class EpochLog(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            for row in learning_curve(state.log_history):  # of the run that is gone on with
                run_log.epoch(row)

        def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            row = learning_curve(state.log_history)[-1]
            log.info("epoch %d of at most %d: %s", row["epoch"], epochs, ", ".join(f"{k} {v:.4f}" for k, v in row.items() if k != "epoch"))
            if not math.isfinite(row["train_loss"] + row["validation_loss"]):
                raise StageError("the loss is not a number: lower train.learning_rate or set train.precision to fp32")
            run_log.epoch(row)

    return EpochLog()


@contextmanager
def _out_of_memory_explained() -> Iterator[None]:
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise StageError("out of memory: lower train.batch_size or train.max_length") from error


def main() -> None:
    """Wire flags, params and the MLflow run."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "train", TrainParams)
        class_names = load_class_names(paths.params)
        with tracking.training_run(paths.params) as run_log:
            run(settings, class_names, paths, run_log)


if __name__ == "__main__":
    main()
