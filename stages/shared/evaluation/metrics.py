"""Metrics of predictions: true labels and probabilities come in; accuracy, F1, ROC and confusion matrix go out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serving.inference.classifier import Predictions
from stages.shared.evaluation.intervals import bootstrap_f1, wilson

if TYPE_CHECKING:
    import numpy as np

ROC_POINTS = 200  # of a curve: as many as a picture can show


def classification_scores(truth: "np.ndarray", predictions: Predictions, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Return accuracy and macro F1 with intervals, macro precision and recall, ROC-AUC, and the scores of each class.

    Accuracy has Wilson's interval. Macro F1 has the percentile interval of a bootstrap over the texts.
    """
    from sklearn.metrics import precision_recall_fscore_support

    predicted = predictions.label_ids
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted, labels=range(len(names)), zero_division=0)
    correct = int((predicted == truth).sum())
    accuracy_low, accuracy_high = wilson(correct, len(truth))
    f1_low, f1_high = bootstrap_f1(confusion_counts(truth, predicted, len(names)), seed)
    return {
        "accuracy": correct / len(truth),
        "accuracy_low": accuracy_low,
        "accuracy_high": accuracy_high,
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


def roc_auc(truth: "np.ndarray", probabilities: "np.ndarray") -> float | None:
    """Return the area under the ROC curve (one against the rest, macro), or None if a class has no text."""
    from sklearn.metrics import roc_auc_score

    classes = probabilities.shape[1]
    if len(set(truth.tolist())) < classes:
        return None
    if classes == 2:
        return float(roc_auc_score(truth, probabilities[:, 1]))
    return float(roc_auc_score(truth, probabilities, multi_class="ovr", labels=range(classes)))


def confusion_counts(truth: "np.ndarray", predicted: "np.ndarray", classes: int) -> "np.ndarray":
    """Return the confusion matrix as counts (true, predicted)."""
    from sklearn.metrics import confusion_matrix

    counts: np.ndarray = confusion_matrix(truth, predicted, labels=range(classes))
    return counts


Curves = dict[str, tuple[list[float], list[float], float]]  # class name -> false positive rates, true positive rates, area


def roc_curves(truth: "np.ndarray", probabilities: "np.ndarray", names: Sequence[str]) -> Curves:
    """Return the ROC curve of the positive class of two, or of each of several classes; a curve has at most 200 points."""
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
    """Return the points of one line: the only curve, or the mean of all curves (macro average)."""
    import numpy as np

    if len(curves) < 2:
        return [point for fpr, tpr, _ in curves.values() for point in zip(fpr, tpr, strict=True)]
    rates = np.linspace(0, 1, ROC_POINTS)
    mean = np.mean([np.interp(rates, fpr, tpr) for fpr, tpr, _ in curves.values()], axis=0)
    return [(0.0, 0.0), *zip(rates.tolist(), mean.tolist(), strict=True)]
