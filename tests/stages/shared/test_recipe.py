"""That what is left open goes by the number of texts, and what is given stays."""

import logging

import pytest

from stages.shared.recipe import PAIRS, RECIPES, Recipe, recipe


@pytest.mark.parametrize(
    ("texts", "row"), [(1, 200), (200, 200), (201, 800), (8_001, 100_000), (100_001, float("inf")), (10**7, float("inf"))]
)
def test_open_params_go_by_the_number_of_texts(texts: int, row: float, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert recipe(texts, "auto", "auto", 1, "auto", plain=False) == RECIPES[row]
    assert f"{texts:,} texts: at most {RECIPES[row].epochs} epochs" in caplog.text


@pytest.mark.parametrize(("texts", "row"), [(1, 200), (200, 200), (201, 800), (800, 800)])
def test_few_texts_are_learnt_from_in_pairs(texts: int, row: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert recipe(texts, "auto", "auto", 1, "auto") == PAIRS[row]
    assert f"{texts:,} texts: in pairs, {PAIRS[row].epochs} epochs" in caplog.text
    assert recipe(texts, "auto", 8, 1, 3e-5) == Recipe(PAIRS[row].epochs, 8, 3e-5, pairs=True)
    assert not recipe(801, "auto", "auto", 1, "auto").pairs


def test_steps_that_are_split_or_tiny_have_too_few_pairs() -> None:
    assert recipe(100, "auto", "auto", 2, "auto") == RECIPES[200]._replace(parts_of_a_step=2)
    assert recipe(100, "auto", 7, 1, "auto") == RECIPES[200]._replace(texts_a_step=7)
    assert recipe(100, "auto", 8, 1, "auto").pairs


def test_given_params_stay_and_a_step_holds_all_batches_of_it() -> None:
    assert recipe(100, 2, 8, 4, 3e-5) == Recipe(2, 32, 3e-5, parts_of_a_step=4)
    assert recipe(100, 2, "auto", 4, "auto") == RECIPES[200]._replace(epochs=2, parts_of_a_step=4)
