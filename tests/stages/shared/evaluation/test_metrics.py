"""Metrics: they equal scikit-learn's, and a class without texts has a defined value everywhere."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from serving.inference.classifier import Predictions
from stages.shared.evaluation import metrics
from stages.shared.evaluation.metrics import classification_scores

NAMES = ("bad", "fine", "good")


def predictions(probabilities: list[list[float]]) -> Predictions:
    """Return predictions of texts that are neither uncertain nor truncated."""
    array = np.array(probabilities)
    no_text = np.zeros(len(array), dtype=bool)
    return Predictions(array.argmax(axis=1), array, no_text, no_text, np.ones(len(array), dtype=int))


def test_scores_of_three_classes_equal_the_definitions() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    answer = predictions([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    scores = classification_scores(truth, answer, NAMES, seed=1)
    assert scores["accuracy"] == pytest.approx(5 / 6)
    assert scores["recall"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert scores["precision"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert scores["f1"] == pytest.approx((2 / 3 + 0.8 + 1) / 3)
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(truth, answer.probabilities, multi_class="ovr"))
    assert scores["classes"]["fine"] == {"precision": pytest.approx(2 / 3), "recall": 1, "f1": pytest.approx(0.8), "texts": 2}
    assert scores == classification_scores(truth, answer, NAMES, seed=1)


def test_accuracy_has_the_interval_of_wilson() -> None:
    truth = np.array([0, 1] * 50)
    scores = classification_scores(truth, predictions([[0.9, 0.1]] * 100), ("negative", "positive"), seed=1)
    assert (scores["accuracy_low"], scores["accuracy_high"]) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))


def test_scores_of_a_perfect_model_have_an_interval_that_begins_below_100_percent() -> None:
    scores = classification_scores(np.array([0, 1]), predictions([[0.9, 0.1], [0.1, 0.9]]), ("negative", "positive"), seed=1)
    assert scores["accuracy"] == scores["f1"] == scores["roc_auc"] == scores["accuracy_high"] == 1
    assert scores["accuracy_low"] < 0.5


def test_class_without_test_texts_has_no_curve_and_there_is_no_roc_auc() -> None:
    truth, answer = np.array([0, 0, 2]), predictions([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    assert metrics.roc_auc(truth, answer.probabilities) is None
    assert list(metrics.roc_curves(truth, answer.probabilities, NAMES)) == ["bad", "good"]
    assert classification_scores(truth, answer, NAMES, seed=1)["classes"]["fine"] == {"precision": 0, "recall": 0, "f1": 0, "texts": 0}
    assert metrics.roc_auc(np.array([1, 1]), np.array([[0.2, 0.8], [0.3, 0.7]])) is None


def test_curves_belong_to_the_positive_class_or_to_each_class_and_have_few_points() -> None:
    drawn = np.random.default_rng(1)
    truth, probabilities = drawn.integers(0, 3, 5000), drawn.dirichlet([1, 1, 1], 5000)
    curves = metrics.roc_curves(truth, probabilities, NAMES)
    assert list(curves) == list(NAMES)
    for fpr, tpr, area in curves.values():
        assert len(fpr) == len(tpr) <= metrics.ROC_POINTS
        assert area == pytest.approx(0.5, abs=0.05)
    two = metrics.roc_curves(truth.clip(max=1), probabilities[:, :2], ("negative", "positive"))
    assert list(two) == ["positive"]
    assert two["positive"][2] == pytest.approx(roc_auc_score(truth.clip(max=1), probabilities[:, 1]))


def test_line_of_the_plot_is_the_only_curve_or_the_mean_of_the_curves() -> None:
    one = {"positive": ([0.0, 0.5, 1.0], [0.0, 0.8, 1.0], 0.65)}
    assert metrics.average_curve(one) == [(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)]
    perfect, chance = ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0], 1.0), ([0.0, 1.0], [0.0, 1.0], 0.5)
    points = metrics.average_curve({"bad": perfect, "ok": chance})
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (1.0, 1.0)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert np.trapezoid([y for _, y in points], [x for x, _ in points]) == pytest.approx(0.75, abs=0.01)
