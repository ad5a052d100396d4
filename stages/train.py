"""Fine-tune the base model into a text classifier with the Hugging Face Trainer.

Reads: train and validation splits, models/base, the train section and the class names of params.yaml.
Writes: models/final (AutoModelForSequenceClassification loads it, id2label are the class names), metrics/train.json with
the learning curve, and its picture. Checkpoints lie under models/checkpoints of the main checkout while it runs.
SENTIMENT_LAUNCH, e.g. "torchrun --nproc-per-node 2", runs it in several processes, which share each step.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from serving.inference.cpu import cpu_name
from serving.inference.hashing import file_sha256
from stages.shared import command, params, tracking
from stages.shared.classes import load_class_names
from stages.shared.outputs import atomic_folder, write_metrics
from stages.shared.report import plots
from stages.shared.splits import read_split
from stages.shared.training import lineage
from stages.shared.training.launch import is_main_process, launch
from stages.shared.training.learning_curve import DECISIVE, best_epoch, learning_curve
from stages.shared.training.vocabulary import coverage

if TYPE_CHECKING:
    from pandas import DataFrame
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from stages.shared.batches import Texts
    from stages.shared.training.classifier import ClassifierTrainer
    from stages.shared.training.loss import TrainingLoss
    from stages.shared.training.recipe import Recipe

log = logging.getLogger("train")


class TrainParams(params.Section):
    epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=1000)]
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)]
    gradient_accumulation: Annotated[int, Field(ge=1, le=1024)]
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=1)]
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]
    token_dropout: Annotated[float, Field(ge=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"] | list[Annotated[float, Field(ge=0, le=1000)]]
    teacher: str
    vocabulary: Literal["auto", "keep", "refit"]
    max_length: Annotated[int, Field(ge=8, le=8192)]
    early_stopping_patience: Annotated[int, Field(ge=1)]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True)
class Paths(command.Paths):
    train: Annotated[Path, "split to learn from"]
    validation: Annotated[Path, "split that chooses the best epoch, and how sure few texts make the answers"]
    base: Annotated[Path, "folder of the base model"]
    teacher: Annotated[Path, "folder of a fine-tuned model to learn from, or a table without rows"]
    model: Annotated[Path, "folder to write"]
    metrics: Annotated[Path, "JSON to write"]
    picture: Annotated[Path, "learning curve to draw as PNG"]
    preprocess_metrics: Annotated[Path, "JSON of preprocess, mirrored to MLflow only"]


def run(settings: TrainParams, class_names: tuple[str, ...], paths: Paths) -> Path:
    """Learn, keep an epoch, write the model and what was measured on the way; return the folder of the checkpoints."""
    from stages.shared.training.checkpoints import checkpoint_folder
    from stages.shared.training.memory import limited_to_what_is_free
    from stages.shared.training.trainer import resolve_machine

    store = tracking.open_store() if is_main_process() else None
    machine = resolve_machine(settings.precision, settings.threads)
    origin = hashes(settings, class_names, machine, paths)
    origin_and_code = origin | {"code": lineage.code_sha256(Path(__file__).resolve())}
    on_cpu = machine["device"] == "cpu"
    with (
        checkpoint_folder(lineage.value_sha256(origin_and_code)) as checkpoints_dir,
        tracked(store, paths.params, checkpoints_dir) as run_log,
        limited_to_what_is_free(on_cpu=on_cpu),
    ):
        trainer, tokenizer, resolved = learn(settings, class_names, machine, paths, checkpoints_dir, run_log)
        if run_log:
            write(trainer, tokenizer, origin, resolved, paths)
            model_sha256 = file_sha256(paths.model / "model.safetensors")
            metrics_files = [paths.metrics, paths.preprocess_metrics]
            run_log.finish(model_sha256, origin_and_code, metrics_files, pictures=[paths.picture])
    return checkpoints_dir


@contextmanager
def tracked(store: tracking.Store | None, params_file: Path, checkpoints_dir: Path) -> Iterator[tracking.TrainingRun | None]:
    """Open the MLflow run of this training, after a kill the one from before it; None in the processes that only help the main one."""
    from stages.shared.training.checkpoints import put

    if store is None:
        yield None
        return
    kept = checkpoints_dir / "mlflow_run"
    earlier = kept.read_text("utf-8") if kept.exists() else None
    with tracking.training_run(store, params_file, earlier) as run_log:
        put(kept, run_log.run_id.encode())
        yield run_log


def learn(
    settings: TrainParams,
    class_names: tuple[str, ...],
    machine: Mapping[str, str | int],
    paths: Paths,
    checkpoints_dir: Path,
    run_log: tracking.TrainingRun | None,
) -> "tuple[ClassifierTrainer, PreTrainedTokenizerBase, dict[str, Any]]":
    """Tokenize and train, with a vocabulary of its own where that is asked for; return also what was resolved, for the metrics."""
    from stages.shared.batches import load_tokenizer, tokenize
    from stages.shared.training.classifier import EpochLog, load_classifier
    from stages.shared.training.memory import recipe_that_fits
    from stages.shared.training.narrow_embeddings import NarrowEmbeddings
    from stages.shared.training.recipe import Wanted
    from stages.shared.training.sampler import TokenDropout
    from stages.shared.training.trainer import train_from_newest
    from stages.shared.training.vocabulary.refit import EMBEDDING_RATE, refit

    splits = {name: read_split(getattr(paths, name), class_names) for name in ("train", "validation")}
    tokenizer = load_tokenizer(paths.base, settings.max_length, "train.max_length")
    covered = coverage.measure(tokenizer, splits["train"]["text"])
    is_refit = coverage.asks_for_refit(log, covered, settings.vocabulary, len(splits["train"]))
    loss = training_loss(settings, splits["train"], class_names, machine, paths, checkpoints_dir, with_linear_teacher=is_refit)
    base_dir = paths.base
    if is_refit:
        base_dir, tokenizer = refit(
            paths.base, splits["train"]["text"].tolist(), settings.max_length, settings.seed, machine, checkpoints_dir
        )
    texts = {name: tokenize(frame["text"].tolist(), frame["label"].tolist(), tokenizer) for name, frame in splits.items()}
    longest = max(int(split.lengths.max()) for split in texts.values())
    model = load_classifier(base_dir, class_names, machine, longest, settings.seed)
    occurring = NarrowEmbeddings(model, texts.values(), tokenizer)
    texts = {name: split.with_ids(occurring.places(split.ids)) for name, split in texts.items()}
    by_label = why_by_label(settings, loss, model, texts["train"])
    wanted = Wanted(settings.epochs, settings.batch_size, settings.gradient_accumulation, settings.learning_rate, by_label)
    chosen = recipe_that_fits(model, texts["train"], wanted, machine, checkpoints_dir)
    if not chosen.pairs:
        texts["train"] = TokenDropout.of(texts["train"], settings.token_dropout, settings.seed, occurring.mask, occurring.special)
    trainer = make_trainer(settings, chosen, model, machine, loss, texts, checkpoints_dir, EMBEDDING_RATE if is_refit else 1.0)
    trainer.add_callback(EpochLog(run_log, chosen.epochs))
    train_from_newest(trainer)
    occurring.widen()
    resolved = {
        "recipe": chosen._asdict(),
        "machine": {**machine, "cpu": cpu_name()},
        "coverage": covered,
        "vocabulary": {"pieces": len(tokenizer), "refit": is_refit},
    }
    return trainer, tokenizer, resolved


def training_loss(
    settings: TrainParams,
    train: "DataFrame",
    class_names: tuple[str, ...],
    machine: Mapping[str, str | int],
    paths: Paths,
    checkpoints_dir: Path,
    *,
    with_linear_teacher: bool,
) -> "TrainingLoss":
    """Build what is minimised: cross-entropy with the weights and the smoothing of params, and a teacher's answers where there is one."""
    from stages.shared.training.loss import TrainingLoss, class_weights
    from stages.shared.training.teacher import teacher_logits

    weights = class_weights(settings.class_weights, train["label"].to_numpy(), class_names)
    linear_seed = settings.seed if with_linear_teacher else None
    teacher = teacher_logits(paths.teacher, train, class_names, machine, checkpoints_dir, linear_seed=linear_seed)
    return TrainingLoss(weights, settings.label_smoothing, teacher)


def hashes(settings: TrainParams, class_names: tuple[str, ...], machine: Mapping[str, str | int], paths: Paths) -> dict[str, str]:
    """Return the sha256 of each input that decides the weights; it goes into the model's lineage."""
    found = {
        "base": lineage.folder_sha256(paths.base),
        "train": file_sha256(paths.train),
        "validation": file_sha256(paths.validation),
        "params": lineage.value_sha256({**settings.model_dump(), "classes": class_names, "machine": machine}),
    }
    if paths.teacher.is_dir():
        found["teacher"] = lineage.folder_sha256(paths.teacher)
    return found


def why_by_label(settings: TrainParams, loss: "TrainingLoss", model: "PreTrainedModel", texts: "Texts") -> str | None:
    """Return what keeps few texts from being learnt from in pairs, which know labels and no softer answers, or None."""
    from stages.shared.training.pairs import allows_contrastive_training
    from stages.shared.training.recipe import FEWEST

    hindrances = {
        "train.epochs is set": settings.epochs != "auto",
        "train.label_smoothing is set": settings.label_smoothing > 0,
        "a teacher answers too": loss.teacher is not None,
        "train.gradient_accumulation is over 1": settings.gradient_accumulation > 1,
        f"train.batch_size is under {FEWEST}": settings.batch_size != "auto" and settings.batch_size < FEWEST,
    }
    told = next((reason for reason, hinders in hindrances.items() if hinders), None)
    return told or (None if allows_contrastive_training(model, texts) else "the base does not allow it")


def make_trainer(
    settings: TrainParams,
    chosen: "Recipe",
    model: "PreTrainedModel",
    machine: Mapping[str, str | int],
    loss: "TrainingLoss",
    texts: "Mapping[str, Texts]",
    checkpoints_dir: Path,
    embedding_rate: float = 1.0,
) -> "ClassifierTrainer":
    """Build the Trainer, which keeps the epoch whose answers, once calibrated, have the lowest validation loss, of pairs the last one."""
    from transformers import EarlyStoppingCallback

    from stages.shared.batches import PaddingCollator
    from stages.shared.training.classifier import CrossEntropyTrainer, texts_at_once
    from stages.shared.training.pairs import ContrastiveTrainer
    from stages.shared.training.trainer import arguments

    return (partial(ContrastiveTrainer, weights=loss.weights) if chosen.pairs else partial(CrossEntropyTrainer, loss=loss))(
        model=model,
        args=arguments(
            machine,
            output_dir=str(checkpoints_dir),
            num_train_epochs=chosen.epochs,
            gradient_accumulation_steps=chosen.parts_of_a_step,
            per_device_eval_batch_size=texts_at_once(texts, chosen),
            learning_rate=chosen.learning_rate,
            warmup_steps=settings.warmup_ratio,
            seed=settings.seed,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=not chosen.pairs,
            metric_for_best_model=f"eval_{DECISIVE}",
            greater_is_better=False,
        ),
        batch_size=chosen.texts_a_step,
        embedding_rate=embedding_rate,
        train_dataset=texts["train"],
        eval_dataset=texts["validation"].by_length(),
        data_collator=PaddingCollator(model.config.pad_token_id),
        callbacks=[] if chosen.pairs else [EarlyStoppingCallback(settings.early_stopping_patience)],
    )


def write(
    trainer: "ClassifierTrainer",
    tokenizer: "PreTrainedTokenizerBase",
    origin: Mapping[str, str],
    resolved: Mapping[str, Any],
    paths: Paths,
) -> None:
    """Write weights, config, tokenizer and lineage, then metrics and picture. training_args.bin would hold a path of this machine."""
    curve = learning_curve(trainer.state.log_history)
    with atomic_folder(paths.model) as draft_dir:
        trainer.model.save_pretrained(draft_dir)
        tokenizer.save_pretrained(draft_dir)
        (draft_dir / "lineage.json").write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", "utf-8")
        kept = best_epoch(curve, last=resolved["recipe"]["pairs"])
        write_metrics(paths.metrics, {**kept, "epochs_run": curve[-1]["epoch"], "curve": curve, **resolved})
        plots.learning_curve(curve, kept["best_epoch"], paths.picture)


def main() -> None:
    """Wire flags and params; checkpoints go when the outputs are in place."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "train", TrainParams)
        class_names = load_class_names(paths.params)
        launch("stages.train")
        if not is_main_process():
            logging.disable(logging.WARNING)
        checkpoints_dir = run(settings, class_names, paths)
    if is_main_process():
        from stages.shared.training.checkpoints import forget

        forget(checkpoints_dir)


if __name__ == "__main__":
    main()
