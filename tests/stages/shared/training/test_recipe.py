"""The number of texts and classes chooses what `auto` means; given params stay."""

import logging

import pytest

from stages.shared.training.recipe import Recipe, Wanted, default_recipe, recipe

REFUSED = "train.label_smoothing is set"


@pytest.mark.parametrize(
    ("texts", "row"),
    [
        (1, Recipe(20, 16, 1e-4)),
        (200, Recipe(20, 16, 1e-4)),
        (201, Recipe(10, 16, 5e-5)),
        (801, Recipe(5, 32, 5e-5)),
        (8_001, Recipe(3, 64, 1e-4)),
        (100_001, Recipe(2, 64, 1e-4)),
        (10**7, Recipe(2, 64, 1e-4)),
    ],
)
def test_number_of_texts_chooses_open_params(texts: int, row: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert recipe(texts, 2, Wanted(contrastive_refused=REFUSED)) == row == default_recipe(texts, 2, contrastive=False)
    assert f"{texts:,} texts, {texts // 2:,} per class on average: at most {row.epochs} epochs" in caplog.text
    assert (f"contrastive training is off: {REFUSED}" in caplog.text) == (texts <= 800)


@pytest.mark.parametrize(("texts", "epochs"), [(1, 20), (200, 20), (201, 5), (800, 5)])
def test_few_texts_get_contrastive_training(texts: int, epochs: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert recipe(texts, 2, Wanted()) == Recipe(epochs, 16, 1e-4, pairs=True) == default_recipe(texts, 2)
    assert f"{texts:,} texts, {texts // 2} per class on average: contrastive training, {epochs} epochs" in caplog.text
    assert "contrastive training is off" not in caplog.text
    assert recipe(texts, 2, Wanted(batch_size=8, learning_rate=3e-5)) == Recipe(epochs, 8, 3e-5, pairs=True)
    assert not recipe(801, 2, Wanted()).pairs


def test_with_many_classes_the_mean_number_of_texts_of_a_class_counts_too() -> None:
    refused = Wanted(contrastive_refused=REFUSED)
    assert recipe(800, 7, Wanted()).epochs == 5
    assert recipe(800, 8, Wanted()) == recipe(200, 2, Wanted())
    assert recipe(390, 26, refused) == recipe(200, 2, refused)
    assert recipe(825, 25, Wanted()) == Recipe(10, 32, 1e-4)
    assert recipe(1_400, 7, Wanted()) == recipe(8_000, 3, Wanted()) == Recipe(10, 32, 5e-5)
    assert recipe(8_000, 2, Wanted()) == Recipe(5, 32, 5e-5)
    assert recipe(8_001, 500, Wanted()) == Recipe(3, 64, 1e-4)


def test_given_params_stay_and_a_step_holds_all_its_micro_batches() -> None:
    assert recipe(100, 2, Wanted(2, 8, 4, 3e-5, REFUSED)) == Recipe(2, 32, 3e-5, parts_of_a_step=4)
    assert recipe(100, 2, Wanted(2, "auto", 4, "auto", REFUSED)) == Recipe(2, 16, 1e-4, parts_of_a_step=4)


def test_step_has_at_least_one_text_for_each_micro_batch() -> None:
    assert recipe(100, 2, Wanted(gradient_accumulation=32, contrastive_refused=REFUSED)).texts_a_step == 32
