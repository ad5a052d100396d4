"""The stage train: fine-tune the base model into a text classifier with the Hugging Face Trainer.

Reads: the train and validation splits, models/base, a teacher if there is one, and the train section and class names of params.yaml.
Writes: models/final, which AutoModelForSequenceClassification loads, metrics/train.json, all figures in data/training.json, and a
picture of the learning curve.

While it runs, checkpoints lie in models/checkpoints of the main checkout, and the same command resumes from them.
SENTIMENT_LAUNCH, e.g. "torchrun --nproc-per-node 2", runs it in several processes, which share each step.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

from serving.inference.cpu import cpu_name
from serving.inference.hashing import file_sha256
from stages.shared import command, mlflow_store, params, tracking
from stages.shared.classes import read_class_names
from stages.shared.outputs import atomic_folder, write_metrics
from stages.shared.report import plots
from stages.shared.splits import read_split
from stages.shared.training import lineage
from stages.shared.training.launch import is_main_process, launch
from stages.shared.training.learning_curve import best_epoch, learning_curve
from stages.shared.training.vocabulary import coverage

if TYPE_CHECKING:
    from stages.shared.training.checkpoints import TrainingFolder
    from stages.shared.training.classifier import ClassifierTrainer
    from stages.shared.training.fitting import Prepared
    from stages.shared.training.machine import Machine
    from stages.shared.training.recipe import Recipe

COMPARED = ("best_epoch", "validation_accuracy", "validation_f1", "validation_calibrated_loss", "machine", "recipe")


class TrainParams(params.Section):
    model_config = ConfigDict(use_attribute_docstrings=True)

    epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=1000)]
    """Largest number of epochs; cross-entropy training may stop earlier. `auto`: by the number of texts."""
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)]
    """Texts in a batch, on average, because steps hold equal tokens. `auto`: by the number of texts and the memory."""
    gradient_accumulation: Annotated[int, Field(ge=1, le=1024)]
    """Micro-batches in a step. With `batch_size: auto` more of them need less memory; otherwise each has `batch_size` texts."""
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=1)]
    """Peak learning rate. `auto`: by the number of texts."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]
    """Share of the steps in which the learning rate rises; then it falls to 0."""
    token_dropout: Annotated[float, Field(ge=0, lt=1)]
    """Share of the tokens that are masked, other tokens in each epoch. Contrastive training reads the texts unmasked."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    """Share of each label that is spread over all classes. Above 0 it turns contrastive training off."""
    class_weights: Literal["none", "balanced"] | list[Annotated[float, Field(ge=0, le=1000)]]
    """How much each class counts: `balanced` makes all classes count the same; a list has a number for each class, in id order."""
    teacher: str
    """Folder of a fine-tuned model with the same classes, to distil. `data/raw/none.csv`: no teacher."""
    vocabulary: Literal["auto", "keep", "refit"]
    """`refit` fits a vocabulary on the train split. `auto` does so if the base model does not know the language of 2,000 texts or more."""
    max_length: Annotated[int, Field(ge=8, le=8192)]
    """Maximum number of tokens of a text. Longer texts are truncated, in training and in the service."""
    early_stopping_patience: Annotated[int, Field(ge=1)]
    """Epochs in a row without a lower calibrated validation loss that end a cross-entropy training."""
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    """Precision of the computation; weights stay in fp32. `auto`: bf16 where the CPU or GPU has it, else fp32. fp16 needs a GPU."""
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)]
    """Threads of a process. `auto`: all its cores. Another number sums in another order, which gives other weights."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of the head, of the order of the texts and of the masked tokens."""


@dataclass(frozen=True)
class Paths(command.Paths):
    train: Annotated[Path, "train split"]
    validation: Annotated[Path, "validation split, which chooses the best epoch and calibrates contrastive training"]
    classes: Annotated[Path, "JSON of the class names in id order"]
    base: Annotated[Path, "folder of the base model"]
    teacher: Annotated[Path, "folder of a fine-tuned model to distil, or a header-only file"]
    model: Annotated[Path, "folder to write"]
    metrics: Annotated[Path, "JSON to write: the figures that one compares"]
    details: Annotated[Path, "JSON to write: all figures"]
    picture: Annotated[Path, "PNG of the learning curve to write"]
    preprocess_details: Annotated[Path, "JSON of preprocess, which is only recorded in MLflow"]


def run(settings: TrainParams, class_names: tuple[str, ...], paths: Paths) -> "TrainingFolder":
    """Train the classifier, and write the model, its metrics and its picture; return the folder of the checkpoints."""
    from stages.shared.training.checkpoints import training_folder
    from stages.shared.training.machine import resolve_machine
    from stages.shared.training.memory import keep_freed_memory, limited_to_free_memory
    from stages.shared.training.mlflow_run import mlflow_run

    store = mlflow_store.open_store() if is_main_process() else None
    machine = resolve_machine(settings.precision, settings.threads)
    keep_freed_memory()
    origin = hashes(settings, class_names, machine, paths)
    origin_and_code = origin | {"code": lineage.code_sha256(Path(__file__).resolve())}
    with (
        training_folder(lineage.value_sha256(origin_and_code)) as folder,
        mlflow_run(store, paths.params, folder) as run_log,
        limited_to_free_memory(on_cpu=machine.device == "cpu"),
    ):
        prepared = prepare(settings, class_names, machine, paths, folder)
        recipe = choose_recipe(settings, prepared, machine, folder)
        trainer = fit(settings, recipe, prepared, machine, folder, run_log)
        if run_log:
            write(trainer, recipe, prepared, machine, origin, paths)
            model_sha256 = file_sha256(paths.model / "model.safetensors")
            run_log.finish(
                model_sha256, origin_and_code, {"train": paths.details, "preprocess": paths.preprocess_details}, pictures=[paths.picture]
            )
    return folder


def hashes(settings: TrainParams, class_names: tuple[str, ...], machine: "Machine", paths: Paths) -> dict[str, str]:
    """Return the SHA-256 of each input that decides the weights, for the model's lineage."""
    found = {
        "base": lineage.folder_sha256(paths.base),
        "train": file_sha256(paths.train),
        "validation": file_sha256(paths.validation),
        "params": lineage.value_sha256({**settings.model_dump(), "classes": class_names, "machine": asdict(machine)}),
    }
    if paths.teacher.is_dir():
        found["teacher"] = lineage.folder_sha256(paths.teacher)
    return found


def prepare(settings: TrainParams, class_names: tuple[str, ...], machine: "Machine", paths: Paths, folder: "TrainingFolder") -> "Prepared":
    """Load the base model, with a fitted vocabulary where its own does not know the language, and tokenize the splits."""
    from stages.shared.batches import load_tokenizer, tokenize
    from stages.shared.training.classifier import load_classifier
    from stages.shared.training.fitting import Prepared
    from stages.shared.training.loss import TrainingLoss, class_weights
    from stages.shared.training.narrow_embeddings import NarrowEmbeddings
    from stages.shared.training.teacher import teacher_logits
    from stages.shared.training.vocabulary.refit import refit

    splits = {name: read_split(getattr(paths, name), class_names) for name in ("train", "validation")}
    train = splits["train"]
    own_tokenizer = load_tokenizer(paths.base, settings.max_length, "train.max_length")
    covered = coverage.measure(own_tokenizer, train["text"])
    is_refit = coverage.needs_refit(covered, settings.vocabulary, len(train))
    weights = class_weights(settings.class_weights, train["label"].to_numpy(), class_names)
    linear_seed = settings.seed if is_refit else None
    teacher = teacher_logits(paths.teacher, train, class_names, machine, folder, linear_seed=linear_seed)
    base_dir, tokenizer = (
        refit(paths.base, train["text"].tolist(), settings.max_length, settings.seed, machine, folder)
        if is_refit
        else (paths.base, own_tokenizer)
    )
    tokenized = {name: tokenize(split["text"].tolist(), split["label"].tolist(), tokenizer) for name, split in splits.items()}
    max_tokens = max(int(split.lengths.max()) for split in tokenized.values())
    model = load_classifier(base_dir, class_names, machine, max_tokens, settings.seed)
    narrow = NarrowEmbeddings(model, tokenized.values(), tokenizer)
    texts = {name: split.with_ids(narrow.to_narrow_ids(split.ids)) for name, split in tokenized.items()}
    return Prepared(model, tokenizer, texts, narrow, TrainingLoss(weights, settings.label_smoothing, teacher), covered, is_refit)


def choose_recipe(settings: TrainParams, prepared: "Prepared", machine: "Machine", folder: "TrainingFolder") -> "Recipe":
    """Choose what the params leave open: epochs, texts a step, learning rate, micro-batches, contrastive training or not."""
    from stages.shared.training.micro_batches import recipe_that_fits
    from stages.shared.training.recipe import Wanted

    refused = why_not_contrastive(settings, prepared)
    wanted = Wanted(settings.epochs, settings.batch_size, settings.gradient_accumulation, settings.learning_rate, refused)
    return recipe_that_fits(prepared.model, prepared.texts["train"], wanted, machine, folder)


def why_not_contrastive(settings: TrainParams, prepared: "Prepared") -> str | None:
    """Return what rules contrastive training out, or None. It compares labels, so it cannot use probabilities."""
    from stages.shared.training.pairs import allows_contrastive_training
    from stages.shared.training.recipe import MIN_CONTRASTIVE_BATCH

    batch_size = settings.batch_size
    reasons = {
        "train.epochs is set": settings.epochs != "auto",
        "train.label_smoothing is set": settings.label_smoothing > 0,
        "there is a teacher": prepared.loss.teacher is not None,
        "train.gradient_accumulation is over 1": settings.gradient_accumulation > 1,
        f"train.batch_size is under {MIN_CONTRASTIVE_BATCH}": batch_size != "auto" and batch_size < MIN_CONTRASTIVE_BATCH,
    }
    if reason := next((reason for reason, holds in reasons.items() if holds), None):
        return reason
    return None if allows_contrastive_training(prepared.model, prepared.texts["train"]) else "the base model does not allow it"


def fit(
    settings: TrainParams,
    recipe: "Recipe",
    prepared: "Prepared",
    machine: "Machine",
    folder: "TrainingFolder",
    run_log: tracking.TrainingRun | None,
) -> "ClassifierTrainer":
    """Train, from the newest checkpoint if there is one, and give the model all its embeddings back."""
    from stages.shared.training.classifier import EpochLog
    from stages.shared.training.fitting import make_trainer
    from stages.shared.training.trainer import train_from_newest

    shared = settings.model_dump(include={"warmup_ratio", "token_dropout", "early_stopping_patience", "seed"})
    trainer = make_trainer(prepared, recipe, machine, folder.path, **shared)
    trainer.add_callback(EpochLog(run_log, recipe.epochs))
    train_from_newest(trainer)
    prepared.narrow.restore()
    return trainer


def write(
    trainer: "ClassifierTrainer", recipe: "Recipe", prepared: "Prepared", machine: "Machine", origin: Mapping[str, str], paths: Paths
) -> None:
    """Write weights, config, tokenizer and lineage, then metrics and picture. training_args.bin would hold a path of this machine."""
    curve = learning_curve(trainer.state.log_history)
    kept = best_epoch(curve, last=recipe.pairs)
    metrics = {
        **kept,
        "epochs_run": curve[-1]["epoch"],
        "curve": curve,
        "recipe": recipe._asdict(),
        "machine": {**asdict(machine), "cpu": cpu_name()},
        "coverage": prepared.coverage,
        "vocabulary": {"pieces": len(prepared.tokenizer), "refit": prepared.is_refit},
    }
    with atomic_folder(paths.model) as draft_dir:
        trainer.model.save_pretrained(draft_dir)
        prepared.tokenizer.save_pretrained(draft_dir)
        (draft_dir / "lineage.json").write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", "utf-8")
        write_metrics(paths.metrics, paths.details, metrics, COMPARED)
        plots.learning_curve(curve, kept["best_epoch"], paths.picture)


def main() -> None:
    """Read flags and params, run the stage, and remove the checkpoints when the outputs are in place."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "train", TrainParams)
        class_names = read_class_names(paths.classes)
        launch("stages.train")
        if not is_main_process():
            logging.disable(logging.WARNING)
        folder = run(settings, class_names, paths)
    if is_main_process():
        from stages.shared.training.checkpoints import remove_folder

        remove_folder(folder)


if __name__ == "__main__":
    main()
