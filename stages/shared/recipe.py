"""How long, in what steps and how fast to learn from so many texts, for params that leave it open.

Few texts need many epochs in small steps, for a step is what moves the weights (docs/quality.md, "How many texts").
"""

import logging
from typing import Literal, NamedTuple

log = logging.getLogger("train")


class Recipe(NamedTuple):
    """texts_a_step: on average; learning_rate: its peak; parts_of_a_step: batches that a step is computed in.

    pairs: whether pairs are learnt from in the place of labels (PairsTrainer).
    """

    epochs: int
    texts_a_step: int
    learning_rate: float
    parts_of_a_step: int = 1
    pairs: bool = False


RECIPES = {  # for up to so many texts
    200: Recipe(20, 16, 1e-4),
    800: Recipe(10, 16, 5e-5),
    8_000: Recipe(5, 32, 5e-5),
    100_000: Recipe(3, 64, 1e-4),
    float("inf"): Recipe(2, 64, 1e-4),
}
FEWEST = 8  # texts of a step, or it has too few pairs
PAIRS = {200: Recipe(20, 16, 1e-4, pairs=True), 800: Recipe(5, 16, 1e-4, pairs=True)}


def recipe(
    texts: int,
    epochs: int | Literal["auto"],
    batch_size: int | Literal["auto"],
    gradient_accumulation: int,
    learning_rate: float | Literal["auto"],
    *,
    plain: bool = True,
) -> Recipe:
    """Fill in what is auto by the number of texts to learn from, and say so.

    plain: the labels are all that is learnt, as they are: pairs know neither weights of classes nor softer labels nor a teacher,
    and are no more where a step is split.
    """
    whole = gradient_accumulation == 1 and (batch_size == "auto" or batch_size >= FEWEST)
    rows = RECIPES | PAIRS if plain and whole and epochs == "auto" else RECIPES
    usual = next(row for most, row in rows.items() if texts <= most)
    chosen = Recipe(
        usual.epochs if epochs == "auto" else epochs,
        usual.texts_a_step if batch_size == "auto" else batch_size * gradient_accumulation,
        usual.learning_rate if learning_rate == "auto" else learning_rate,
        gradient_accumulation,
        usual.pairs,
    )
    how = "in pairs, " if chosen.pairs else "at most "
    log.info("%s texts: %s%d epochs in steps of %d texts, learning rate %.1e", f"{texts:,}", how, *chosen[:3])
    return chosen
