"""Score the served bundle on the test split, beside its fp32 engine and a linear baseline, and report it to a person.

Reads: models/serving, train and test splits, the evaluate section of params.yaml. Writes: metrics/evaluate.json, a prediction
per text, confusion matrix and ROC as data and pictures, and the report as text, which is also printed. No torch in here.
"""

import csv
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from serving.inference.bundle import PORTABLE
from serving.inference.classifier import Classifier, Predictions
from stages.shared import command, params, tracking
from stages.shared.baseline import linear_baseline
from stages.shared.calibration import expected_calibration_error
from stages.shared.evaluation import text_report
from stages.shared.evaluation.intervals import compare
from stages.shared.evaluation.metrics import Curves, average_curve, confusion_counts, roc_curves, score
from stages.shared.outputs import atomic_files, write_metrics, write_text
from stages.shared.report import plots
from stages.shared.report.console import Language, show
from stages.shared.splits import read_split
from stages.shared.spreadsheet import escape_formula

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("evaluate")


class EvaluateParams(params.Section):
    probe_texts: Annotated[tuple[str, ...], Field(max_length=100)]
    report_language: Language
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True)
class Paths(command.Paths):
    bundle: Annotated[Path, "folder of the bundle"]
    train: Annotated[Path, "split, for the baseline"]
    test: Annotated[Path, "split to score"]
    metrics: Annotated[Path, "JSON to write"]
    predictions: Annotated[Path, "CSV to write"]
    report: Annotated[Path, "text to write"]
    confusion: Annotated[Path, "CSV for dvc plots to write"]
    roc: Annotated[Path, "CSV for dvc plots to write"]
    confusion_picture: Annotated[Path, "PNG to write"]
    roc_picture: Annotated[Path, "PNG to write"]


def run(settings: EvaluateParams, paths: Paths, store: tracking.Store) -> None:
    """Predict with the served engine, the fp32 engine and the baseline; measure, draw, report."""
    served = Classifier.load(paths.bundle)
    names = served.bundle.class_names
    train, test = read_split(paths.train, names), read_split(paths.test, names)
    texts, truth = test["text"].tolist(), test["label"].to_numpy()
    if missing := [name for number, name in enumerate(names) if not (truth == number).any()]:
        log.warning("%s has no text of: %s. Their F1 counts as 0 in the macro F1", paths.test, ", ".join(missing))
    predictions = served.predict(texts)
    fp32 = Classifier.load(paths.bundle, engine=PORTABLE).predict(texts)
    baseline = linear_baseline(train, texts, settings.seed)

    scores = score(truth, predictions, names, settings.seed)
    metrics = {
        **scores,
        "engine": served.spec.name,
        "fp32_accuracy": float((fp32.label_ids == truth).mean()),
        "changed_by_compression": float((predictions.label_ids != fp32.label_ids).mean()),
        "calibration_error": expected_calibration_error(predictions.probabilities, truth),
        "uncertain_share": float(predictions.uncertain.mean()),
        "truncated_share": float(predictions.truncated.mean()),
        "baseline": compare(truth, predictions.label_ids, baseline, len(names), settings.seed),
        "texts": len(truth),
    }
    counts = confusion_counts(truth, predictions.label_ids, len(names))
    curves = roc_curves(truth, predictions.probabilities, names)
    write_metrics(paths.metrics, metrics)
    write_predictions(paths.predictions, texts, truth, predictions, names)
    write_plot_data(paths, truth, predictions, names, curves)
    plots.confusion_matrix(counts, names, paths.confusion_picture)
    plots.roc_curves(curves, names, paths.roc_picture)
    probes = served.predict(settings.probe_texts)
    samples = list(zip(texts, truth.tolist(), predictions.label_ids.tolist(), predictions.scores.tolist(), strict=True))
    text = text_report.evaluation(
        settings.report_language, metrics, counts.tolist(), names, samples,
        list(zip(settings.probe_texts, probes.label_ids.tolist(), probes.scores.tolist(), strict=True)),
    )  # fmt: skip
    write_text(paths.report, text)
    show(text)
    tracking.add_to_model(
        store, "evaluate", served.bundle.lineage["model_sha256"], paths.metrics, [paths.confusion_picture, paths.roc_picture]
    )


def write_predictions(file: Path, texts: Sequence[str], truth: "np.ndarray", predictions: Predictions, names: Sequence[str]) -> None:
    """Write a row per test text for a spreadsheet: text, true and predicted class name, score of the predicted class."""
    with _csv_writer(file, "text", "label", "prediction", "score") as write:
        for text, true, predicted, certainty in zip(texts, truth, predictions.label_ids, predictions.scores, strict=True):
            write.writerow([escape_formula(text), names[true], names[predicted], f"{certainty:.6f}"])


def write_plot_data(paths: Paths, truth: "np.ndarray", predictions: Predictions, names: Sequence[str], curves: Curves) -> None:
    """Write what `dvc plots` draws: a row per text for the confusion matrix, a row per point for the (average) ROC."""
    with _csv_writer(paths.confusion, "true", "predicted") as write:
        write.writerows([names[true], names[predicted]] for true, predicted in zip(truth, predictions.label_ids, strict=True))
    with _csv_writer(paths.roc, "false_positive_rate", "true_positive_rate") as write:
        write.writerows([f"{x:.6f}", f"{y:.6f}"] for x, y in average_curve(curves))


@contextmanager
def _csv_writer(file: Path, *header: str) -> "Iterator[Any]":
    with atomic_files(file) as (draft,), draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        yield writer


def main() -> None:
    """Wire flags and params."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "evaluate", EvaluateParams)
        run(settings, paths, tracking.open_store())


if __name__ == "__main__":
    main()
