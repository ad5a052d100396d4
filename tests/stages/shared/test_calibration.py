"""Calibration: the temperature makes scores true, and the calibration error follows its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.inference.probabilities import softmax
from stages.shared.calibration import at_temperature, expected_calibration_error, fit_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_known_temperature_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    calibrated = softmax(rng.normal(size=(20_000, 3)) * 2)
    labels = (calibrated.cumsum(axis=1) > rng.random((len(calibrated), 1))).argmax(axis=1)
    overconfident = at_temperature(calibrated, 1 / temperature)
    assert fit_temperature(overconfident, labels) == pytest.approx(temperature, rel=0.05)
    assert expected_calibration_error(calibrated, labels) < 0.02
    if temperature == 3.0:
        assert expected_calibration_error(overconfident, labels) > 0.1


def test_temperature_is_finite_for_answers_with_score_1() -> None:
    assert 0 < fit_temperature(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])) < 100
    assert 0 < fit_temperature(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 0])) < 100


def test_scores_stay_below_1_on_a_split_without_a_mistake() -> None:
    texts = 100
    probabilities, labels = np.tile([[0.9, 0.1], [0.2, 0.8]], (texts // 2, 1)), np.tile([0, 1], texts // 2)
    scores = at_temperature(probabilities, fit_temperature(probabilities, labels)).max(axis=1)
    assert scores.mean() == pytest.approx(1 - 1 / (texts + 1), abs=0.005)


def test_calibration_error_is_the_weighted_gap_between_score_and_accuracy() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 30)
    labels = np.array([0] * 8 + [1] * 2 + [1] * 15 + [0] * 15)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.25 * 0.1 + 0.75 * 0.1)


@settings(max_examples=50)
@given(st.floats(0.05, 20), st.integers(0, 100))
def test_temperature_changes_no_answer(temperature: float, seed: int) -> None:
    probabilities = softmax(np.random.default_rng(seed).normal(size=(20, 4)))
    changed = at_temperature(probabilities, temperature)
    assert (changed.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(changed.sum(axis=1), 1)
