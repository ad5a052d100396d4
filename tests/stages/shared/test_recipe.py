"""That what is left open goes by the number of texts, and what is given stays."""

import logging

import pytest

from stages.shared.recipe import PAIRS, RECIPES, SPARSE_RECIPES, Recipe, Wanted, recipe

BY_LABEL = "train.label_smoothing is set"


@pytest.mark.parametrize(
    ("texts", "row"), [(1, 200), (200, 200), (201, 800), (8_001, 100_000), (100_001, float("inf")), (10**7, float("inf"))]
)
def test_open_params_go_by_the_number_of_texts(texts: int, row: float, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert recipe(texts, 2, Wanted(by_label=BY_LABEL)) == RECIPES[row]
    assert f"{texts:,} texts, {texts // 2:,} of a class: at most {RECIPES[row].epochs} epochs" in caplog.text
    assert (BY_LABEL in caplog.text) == (texts <= 800)


@pytest.mark.parametrize(("texts", "row"), [(1, 200), (200, 200), (201, 800), (800, 800)])
def test_few_texts_are_learnt_from_in_pairs(texts: int, row: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert recipe(texts, 2, Wanted()) == PAIRS[row]
    assert f"{texts:,} texts, {texts // 2} of a class: in pairs, {PAIRS[row].epochs} epochs" in caplog.text
    assert recipe(texts, 2, Wanted(batch_size=8, learning_rate=3e-5)) == Recipe(PAIRS[row].epochs, 8, 3e-5, pairs=True)
    assert not recipe(801, 2, Wanted()).pairs


def test_texts_of_many_classes_go_by_how_many_a_class_has() -> None:
    assert recipe(800, 7, Wanted()) == PAIRS[800]
    assert recipe(800, 8, Wanted()) == PAIRS[200]
    assert recipe(390, 26, Wanted(by_label=BY_LABEL)) == RECIPES[200]
    assert recipe(825, 25, Wanted()) == SPARSE_RECIPES[8_000] != RECIPES[8_000] == recipe(1_400, 7, Wanted())
    assert recipe(8_001, 500, Wanted()) == RECIPES[100_000]


def test_given_params_stay_and_a_step_holds_all_batches_of_it() -> None:
    assert recipe(100, 2, Wanted(2, 8, 4, 3e-5, BY_LABEL)) == Recipe(2, 32, 3e-5, parts_of_a_step=4)
    assert recipe(100, 2, Wanted(2, "auto", 4, "auto", BY_LABEL)) == RECIPES[200]._replace(epochs=2, parts_of_a_step=4)


def test_step_has_at_least_a_text_for_each_batch_of_it() -> None:
    assert recipe(100, 2, Wanted(gradient_accumulation=32, by_label=BY_LABEL)).texts_a_step == 32
