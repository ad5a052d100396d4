"""How long, in what steps and how fast to learn from so many texts, for params that leave it open.

Few texts need many epochs in small steps, for a step is what moves the weights (docs/quality.md, "How many texts").
"""

import logging
from typing import Literal, NamedTuple

log = logging.getLogger("train")


class Recipe(NamedTuple):
    """texts_a_step: on average; learning_rate: its peak; parts_of_a_step: batches that a step is computed in."""

    epochs: int
    texts_a_step: int
    learning_rate: float
    parts_of_a_step: int = 1


RECIPES = {  # for up to so many texts
    200: Recipe(20, 16, 1e-4),
    800: Recipe(10, 16, 5e-5),
    8_000: Recipe(5, 32, 5e-5),
    100_000: Recipe(3, 64, 1e-4),
    float("inf"): Recipe(2, 64, 1e-4),
}


def recipe(
    texts: int,
    epochs: int | Literal["auto"],
    batch_size: int | Literal["auto"],
    gradient_accumulation: int,
    learning_rate: float | Literal["auto"],
) -> Recipe:
    """Fill in what is auto by the number of texts to learn from, and say so."""
    usual = next(row for most, row in RECIPES.items() if texts <= most)
    chosen = Recipe(
        usual.epochs if epochs == "auto" else epochs,
        usual.texts_a_step if batch_size == "auto" else batch_size * gradient_accumulation,
        usual.learning_rate if learning_rate == "auto" else learning_rate,
        gradient_accumulation,
    )
    log.info("%s texts: at most %d epochs in steps of %d texts, learning rate %.1e", f"{texts:,}", *chosen[:3])
    return chosen
