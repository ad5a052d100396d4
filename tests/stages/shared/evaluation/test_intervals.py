"""Intervals: the verdict against the baseline needs a gain beyond chance."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from stages.shared.evaluation.intervals import bootstrap_f1, compare_with_baseline, wilson
from stages.shared.evaluation.metrics import classification_scores
from tests.stages.shared.evaluation.test_metrics import predictions


@pytest.mark.parametrize(
    ("predicted", "baseline", "gain", "earns"),
    [([0, 1] * 50, [0, 1] * 50, 0, False), ([0, 1] * 50, [0, 0] * 50, 0.5, True), ([0, 0] * 50, [0, 1] * 50, -0.5, False),
     ([0, 1] * 50, [0, 1] * 49 + [0, 0], 0.01, False)],
    ids=["equal", "better", "worse", "better by one text"],
)  # fmt: skip
def test_model_earns_its_cost_only_if_the_gain_is_beyond_chance(predicted: list, baseline: list, gain: float, earns: bool) -> None:
    compared = compare_with_baseline(np.array([0, 1] * 50), np.array(predicted), np.array(baseline), classes=2, seed=1)
    assert compared["gain"] == pytest.approx(gain)
    assert compared["earns_its_cost"] is earns
    assert compared["gain_low"] <= compared["gain"] <= compared["gain_high"]


def test_model_and_baseline_have_the_same_macro_f1_if_a_class_has_no_test_text() -> None:
    truth = np.zeros(10, dtype=int)
    answers = predictions([[0.9, 0.1]] * 10)
    scores = classification_scores(truth, answers, ("negative", "positive"), seed=1)
    assert compare_with_baseline(truth, truth, truth, classes=2, seed=1)["f1"] == scores["f1"] == 0.5


def test_interval_of_wilson_contains_the_accuracy_and_stays_between_0_and_1() -> None:
    for correct in (0, 1, 50, 99, 100):
        low, high = wilson(correct, 100)
        assert 0 <= low <= correct / 100 <= high <= 1
    assert wilson(0, 100)[1] > 0
    assert wilson(100, 100)[0] < 1


def test_interval_of_macro_f1_contains_it_and_narrows_with_more_texts() -> None:
    truth, predicted = np.array([0] * 60 + [1] * 40), np.array([0] * 50 + [1] * 45 + [0] * 5)
    f1 = f1_score(truth, predicted, average="macro")
    widths = []
    for times in (1, 100):
        low, high = bootstrap_f1(times * np.array([[50, 10], [5, 35]]), seed=1)
        assert low < f1 < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5
