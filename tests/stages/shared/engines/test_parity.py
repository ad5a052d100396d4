"""Parity: figures of an engine are those of the definition, and its bounds cover what was measured."""

from pathlib import Path

import numpy as np
import pytest

from serving.inference.bundle import PORTABLE, Bundle, EngineSpec, read_bundle
from stages.shared.calibration import at_temperature
from stages.shared.engines.check_set import CheckSet
from stages.shared.engines.parity import BOUND_FACTOR, FP32_BATCH_BOUND, LOAD_TOLERANCE, Candidate, compare_with_torch

TEXTS = ["the film was good", "the food was bad", "", "we love the phone", "the staff was awful"]


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return read_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def portable(bundle: Bundle) -> EngineSpec:
    (spec,) = (spec for spec in bundle.engines if spec.name == PORTABLE)
    return EngineSpec(spec.name, spec.runtime, spec.files, spec.precision, 1.0, LOAD_TOLERANCE, FP32_BATCH_BOUND)


@pytest.fixture(scope="module")
def answers(bundle: Bundle, portable: EngineSpec) -> np.ndarray:
    """The probabilities of the portable engine."""
    return compare_with_torch(portable, bundle, CheckSet(TEXTS, np.zeros(5, dtype=int), np.full((5, 2), 0.5), 5)).probabilities


def test_engine_with_the_expected_answers_has_no_shift(bundle: Bundle, portable: EngineSpec, answers: np.ndarray) -> None:
    candidate = compare_with_torch(portable, bundle, CheckSet(TEXTS, answers.argmax(axis=1), answers, 5))
    assert candidate.figures["accuracy"] == 1
    assert candidate.figures["f1"] == len(set(answers.argmax(axis=1))) / 2  # macro: a class without texts counts as 0
    assert candidate.figures["flip_share"] == 0
    assert candidate.figures["largest_shift"] < 1e-6
    assert candidate.figures["bytes"] == sum((bundle.folder / file).stat().st_size for file in portable.files)
    assert candidate.repeated.shape == (3, 5, 2)


def test_flips_and_shifts_are_counted_and_accuracy_is_that_of_the_validation_texts(
    bundle: Bundle, portable: EngineSpec, answers: np.ndarray
) -> None:
    expected = answers.copy()
    expected[0] = expected[0, ::-1]
    labels = answers.argmax(axis=1)
    labels[4] = 1 - labels[4]  # a wrong answer, but beyond the four validation texts
    figures = compare_with_torch(portable, bundle, CheckSet(TEXTS, labels, expected, 4)).figures
    assert figures["flip_share"] == pytest.approx(1 / 5)
    assert figures["largest_shift"] == pytest.approx(abs(answers[0, 0] - answers[0, 1]), abs=1e-6)
    assert figures["mean_shift"] == pytest.approx(figures["largest_shift"] / 5, abs=1e-6)
    assert figures["accuracy"] == 1


@pytest.mark.parametrize(("difference", "temperature"), [(0.0, 1.0), (1e-3, 1.0), (1e-3, 0.5)])
def test_bounds_cover_ten_times_the_measured_difference(portable: EngineSpec, difference: float, temperature: float) -> None:
    repeated = np.array([[[0.5, 0.5]], [[0.5 + difference, 0.5 - difference]]])
    spec = Candidate(portable, repeated[0], repeated, {}, 1.0).spec_at(temperature)
    measured = BOUND_FACTOR * np.ptp([at_temperature(one, temperature) for one in repeated], axis=0).max()
    assert spec.batch_bound == pytest.approx(max(FP32_BATCH_BOUND, measured), rel=0.05)
    assert spec.tolerance == pytest.approx(max(LOAD_TOLERANCE, measured))
    assert spec.temperature == temperature
