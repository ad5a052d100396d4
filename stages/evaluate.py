"""The stage evaluate: score the served bundle on the test split, and compare it with its fp32 engine and a linear baseline.

Reads: models/serving, the train and test splits, and the evaluate section of params.yaml.
Writes: metrics/evaluate.json, and all figures in data/evaluation.json; an answer for each text; confusion matrix and ROC as data and
pictures. It also writes and prints a report.

The stage imports no torch.
"""

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from serving.inference.bundle import PORTABLE, TOKENIZER
from serving.inference.classifier import Classifier, Predictions
from stages.shared import command, mlflow_store, params, tracking
from stages.shared.baseline import linear_baseline
from stages.shared.calibration import expected_calibration_error
from stages.shared.evaluation import text_report
from stages.shared.evaluation.intervals import compare_with_baseline
from stages.shared.evaluation.metrics import Curves, average_curve, classification_scores, confusion_counts, roc_curves
from stages.shared.outputs import atomic_files, write_metrics, write_text
from stages.shared.report import plots
from stages.shared.report.console import show
from stages.shared.report.words import Language, read_words
from stages.shared.splits import read_split
from stages.shared.spreadsheet import escape_formula
from stages.shared.training.vocabulary import coverage

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("evaluate")

COMPARED = ("accuracy", "f1", "baseline.gain", "intervals")


class EvaluateParams(params.Section):
    """The params of evaluate."""

    probe_texts: Annotated[tuple[str, ...], Field(max_length=100)]
    """Texts whose answers end the report, for a person to judge."""
    report_language: Language
    """Language of the report and the pictures: English or Korean."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of the bootstrap intervals and of the linear baseline."""


@dataclass(frozen=True)
class Paths(command.Paths):
    bundle: Annotated[Path, "folder of the bundle"]
    train: Annotated[Path, "train split, on which the baseline is fitted"]
    test: Annotated[Path, "test split"]
    metrics: Annotated[Path, "JSON to write: the figures that one compares"]
    details: Annotated[Path, "JSON to write: all figures"]
    predictions: Annotated[Path, "CSV to write"]
    report: Annotated[Path, "text to write"]
    confusion: Annotated[Path, "CSV for dvc plots to write"]
    roc: Annotated[Path, "CSV for dvc plots to write"]
    confusion_picture: Annotated[Path, "PNG to write"]
    roc_picture: Annotated[Path, "PNG to write"]


def run(settings: EvaluateParams, paths: Paths, store: mlflow_store.Store) -> None:
    """Answer the test split with the served engine, the fp32 engine and the baseline; then measure, draw and report."""
    served = Classifier.load(paths.bundle)
    names = served.bundle.class_names
    train, test = read_split(paths.train, names), read_split(paths.test, names)
    texts, truth = test["text"].tolist(), test["label"].to_numpy()
    if missing := [name for number, name in enumerate(names) if not (truth == number).any()]:
        log.warning("%s has no text of these classes: %s. Macro F1 counts their F1 as 0", paths.test, ", ".join(missing))
    predictions = served.predict(texts)
    fp32 = Classifier.load(paths.bundle, engine=PORTABLE).predict(texts)
    baseline = linear_baseline(train, texts, settings.seed)
    metrics = {
        **classification_scores(truth, predictions, names, settings.seed),
        "engine": served.spec.name,
        "fp32_accuracy": float((fp32.label_ids == truth).mean()),
        "changed_by_compression": float((predictions.label_ids != fp32.label_ids).mean()),
        "calibration_error": expected_calibration_error(predictions.probabilities, truth),
        "uncertain_share": float(predictions.uncertain.mean()),
        "truncated_share": float(predictions.truncated.mean()),
        "baseline": compare_with_baseline(truth, predictions.label_ids, baseline, len(names), settings.seed),
        "texts": len(truth),
    }
    metrics["intervals"] = intervals_of(metrics)
    counts = confusion_counts(truth, predictions.label_ids, len(names))
    curves = roc_curves(truth, predictions.probabilities, names)
    write_metrics(paths.metrics, paths.details, metrics, COMPARED)
    write_predictions(paths.predictions, texts, truth, predictions, names)
    write_plot_data(paths, truth, predictions, names, curves)
    words = picture_words(settings.report_language)
    plots.confusion_matrix(counts, names, words, paths.confusion_picture)
    plots.roc_curves(curves, names, words, paths.roc_picture)
    samples = list(zip(texts, truth.tolist(), predictions.label_ids.tolist(), predictions.scores.tolist(), strict=True))
    probes = probe(served, settings.probe_texts)
    is_foreign = coverage.is_poor(coverage.measure(coverage.FileTokenizer(paths.bundle / TOKENIZER), texts))
    report = text_report.evaluation(settings.report_language, metrics, counts.tolist(), names, samples, probes, is_foreign=is_foreign)
    write_text(paths.report, report)
    show(report)
    pictures = [paths.confusion_picture, paths.roc_picture]
    tracking.add_to_model(store, "evaluate", served.bundle.lineage["model_sha256"], paths.params, paths.details, pictures)


def intervals_of(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the 95 % intervals of the compared figures as lists, low and high, which the tables of DVC leave out."""
    accuracy, f1 = ([figures[f"{key}_low"], figures[f"{key}_high"]] for key in ("accuracy", "f1"))
    baseline = figures["baseline"]
    return {"accuracy": accuracy, "f1": f1, "baseline": {"gain": [baseline["gain_low"], baseline["gain_high"]]}}


def picture_words(language: Language) -> dict[str, str]:
    """Return the words of the pictures: the English ones if no installed font can draw those of the language."""
    words = read_words(language, "pictures")
    return words if plots.can_draw(words.values()) else read_words("en", "pictures")


def probe(served: Classifier, texts: Sequence[str]) -> list[text_report.Probe]:
    """Answer the probe texts: text, class id and score of each."""
    answers = served.predict(texts)
    return list(zip(texts, answers.label_ids.tolist(), answers.scores.tolist(), strict=True))


def write_predictions(file: Path, texts: Sequence[str], truth: "np.ndarray", predictions: Predictions, names: Sequence[str]) -> None:
    """Write a row for each test text, safe for a spreadsheet: text, true and predicted class name, score of the predicted class."""
    with _csv_writer(file, "text", "label", "prediction", "score") as writer:
        for text, true, predicted, score in zip(texts, truth, predictions.label_ids, predictions.scores, strict=True):
            writer.writerow([escape_formula(text), names[true], names[predicted], f"{score:.6f}"])


def write_plot_data(paths: Paths, truth: "np.ndarray", predictions: Predictions, names: Sequence[str], curves: Curves) -> None:
    """Write the data of `dvc plots`: a row for each text for the confusion matrix, a row for each point of the (average) ROC curve."""
    with _csv_writer(paths.confusion, "true", "predicted") as writer:
        writer.writerows([names[true], names[predicted]] for true, predicted in zip(truth, predictions.label_ids, strict=True))
    with _csv_writer(paths.roc, "false_positive_rate", "true_positive_rate") as writer:
        writer.writerows([f"{x:.6f}", f"{y:.6f}"] for x, y in average_curve(curves))


@contextmanager
def _csv_writer(file: Path, *header: str) -> "Iterator[Any]":
    with atomic_files(file) as (draft,), draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        yield writer


def main() -> None:
    """Read flags and params, then run the stage."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "evaluate", EvaluateParams)
        run(settings, paths, mlflow_store.open_store())


if __name__ == "__main__":
    main()
