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
from stages.shared import command, params, plots, report, tables, tracking
from stages.shared.calibration import expected_calibration_error
from stages.shared.formulas import as_words
from stages.shared.linear import linear_baseline
from stages.shared.outputs import whole_files, write_metrics, write_text

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("evaluate")

RESAMPLES = 2_000
CONFIDENCE = 0.95
ROC_POINTS = 200


class EvaluateParams(params.Section):
    probe_texts: Annotated[tuple[str, ...], Field(max_length=100)]
    report_language: report.Language
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
    train, test = tables.read_split(paths.train, names), tables.read_split(paths.test, names)
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
    text = report.evaluation(
        settings.report_language, metrics, counts.tolist(), names, samples,
        list(zip(settings.probe_texts, probes.label_ids.tolist(), probes.scores.tolist(), strict=True)),
    )  # fmt: skip
    write_text(paths.report, text)
    report.show(text)
    tracking.add_to_model(
        store, "evaluate", served.bundle.lineage["model_sha256"], paths.metrics, [paths.confusion_picture, paths.roc_picture]
    )


def score(truth: "np.ndarray", predictions: Predictions, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Return accuracy and macro F1 with intervals, macro precision and recall, ROC-AUC, and all per class.

    Accuracy has Wilson's interval; macro F1 the percentile interval of a bootstrap over the texts.
    """
    from scipy.stats import binomtest
    from sklearn.metrics import precision_recall_fscore_support

    predicted = predictions.label_ids
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted, labels=range(len(names)), zero_division=0)
    right = int((predicted == truth).sum())
    wilson = binomtest(right, len(truth)).proportion_ci(CONFIDENCE, "wilson")
    f1_low, f1_high = bootstrap_f1(confusion_counts(truth, predicted, len(names)), seed)
    return {
        "accuracy": right / len(truth),
        "accuracy_low": float(wilson.low),
        "accuracy_high": float(wilson.high),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
        "f1_low": f1_low,
        "f1_high": f1_high,
        "roc_auc": roc_auc(truth, predictions.probabilities),
        "classes": {
            name: {
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "texts": int(support[number]),
            }
            for number, name in enumerate(names)
        },
    }


def bootstrap_f1(counts: "np.ndarray", seed: int) -> tuple[float, float]:
    """Return the interval of macro F1. counts: (true, predicted). Texts resampled = cells of the matrix drawn anew."""
    import numpy as np

    total, classes = int(counts.sum()), len(counts)
    drawn = np.random.default_rng(seed).multinomial(total, counts.flatten() / total, RESAMPLES).reshape(-1, classes, classes)
    right = drawn.diagonal(axis1=1, axis2=2)
    f1 = (2 * right / np.maximum(drawn.sum(axis=1) + drawn.sum(axis=2), 1)).mean(axis=1)
    low, high = np.quantile(f1, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def roc_auc(truth: "np.ndarray", probabilities: "np.ndarray") -> float | None:
    """Return the area under the ROC curve (one against the rest, macro); None when a class is missing in the truth."""
    from sklearn.metrics import roc_auc_score

    classes = probabilities.shape[1]
    if len(set(truth.tolist())) < classes:
        return None
    if classes == 2:
        return float(roc_auc_score(truth, probabilities[:, 1]))
    return float(roc_auc_score(truth, probabilities, multi_class="ovr", labels=range(classes)))


def compare(truth: "np.ndarray", predicted: "np.ndarray", baseline: "np.ndarray", classes: int, seed: int) -> dict[str, Any]:
    """Return the baseline's scores and the gain over it in accuracy, with the paired bootstrap's interval."""
    import numpy as np
    from sklearn.metrics import f1_score

    gains = (predicted == truth).astype(int) - (baseline == truth).astype(int)
    shares = np.array([(gains == value).mean() for value in (-1, 0, 1)])
    drawn = np.random.default_rng(seed).multinomial(len(gains), shares, RESAMPLES)
    low, high = np.quantile((drawn[:, 2] - drawn[:, 0]) / len(gains), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {
        "accuracy": float((baseline == truth).mean()),
        "f1": float(f1_score(truth, baseline, labels=range(classes), average="macro", zero_division=0)),
        "gain": float(gains.mean()),
        "gain_low": float(low),
        "gain_high": float(high),
        "earns_its_cost": bool(low > 0),
    }


def confusion_counts(truth: "np.ndarray", predicted: "np.ndarray", classes: int) -> "np.ndarray":
    """Return counts (true, predicted)."""
    from sklearn.metrics import confusion_matrix

    counts: np.ndarray = confusion_matrix(truth, predicted, labels=range(classes))
    return counts


Curves = dict[str, tuple[list[float], list[float], float]]


def roc_curves(truth: "np.ndarray", probabilities: "np.ndarray", names: Sequence[str]) -> Curves:
    """Return false and true positive rates (at most 200 points) and area, for the positive class or for each of several."""
    import numpy as np
    from sklearn.metrics import auc, roc_curve

    curves: Curves = {}
    for number, name in enumerate(names):
        if (number == 0 and len(names) == 2) or len({*(truth == number).tolist()}) < 2:
            continue
        fpr, tpr, _ = roc_curve(truth == number, probabilities[:, number])
        points = np.unique(np.linspace(0, len(fpr) - 1, ROC_POINTS).round().astype(int))
        curves[name] = (fpr[points].tolist(), tpr[points].tolist(), float(auc(fpr, tpr)))
    return curves


def average_curve(curves: Curves) -> list[tuple[float, float]]:
    """Return the points of the one curve, or of the mean over the classes' curves (macro average), which a line plot can show."""
    import numpy as np

    if len(curves) < 2:
        return [point for fpr, tpr, _ in curves.values() for point in zip(fpr, tpr, strict=True)]
    rates = np.linspace(0, 1, ROC_POINTS)
    mean = np.mean([np.interp(rates, fpr, tpr) for fpr, tpr, _ in curves.values()], axis=0)
    return [(0.0, 0.0), *zip(rates.tolist(), mean.tolist(), strict=True)]


def write_predictions(file: Path, texts: Sequence[str], truth: "np.ndarray", predictions: Predictions, names: Sequence[str]) -> None:
    """Write a row per test text for a spreadsheet: text, true and predicted class name, score of the predicted class."""
    with _csv_writer(file, "text", "label", "prediction", "score") as write:
        for text, true, predicted, certainty in zip(texts, truth, predictions.label_ids, predictions.scores, strict=True):
            write.writerow([as_words(text), names[true], names[predicted], f"{certainty:.6f}"])


def write_plot_data(paths: Paths, truth: "np.ndarray", predictions: Predictions, names: Sequence[str], curves: Curves) -> None:
    """Write what `dvc plots` draws: a row per text for the confusion matrix, a row per point for the (average) ROC."""
    with _csv_writer(paths.confusion, "true", "predicted") as write:
        write.writerows([names[true], names[predicted]] for true, predicted in zip(truth, predictions.label_ids, strict=True))
    with _csv_writer(paths.roc, "false_positive_rate", "true_positive_rate") as write:
        write.writerows([f"{x:.6f}", f"{y:.6f}"] for x, y in average_curve(curves))


@contextmanager
def _csv_writer(file: Path, *header: str) -> "Iterator[Any]":
    with whole_files(file) as (draft,), draft.open("w", encoding="utf-8", newline="") as stream:
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
