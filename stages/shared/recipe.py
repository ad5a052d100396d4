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


class Wanted(NamedTuple):
    """What params give or leave open, and why few texts are learnt from by label and not in pairs, or None if they need not be."""

    epochs: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] = "auto"
    gradient_accumulation: int = 1
    learning_rate: float | Literal["auto"] = "auto"
    by_label: str | None = None


RECIPES: dict[float, Recipe] = {  # for up to so many texts
    200: Recipe(20, 16, 1e-4),
    800: Recipe(10, 16, 5e-5),
    8_000: Recipe(5, 32, 5e-5),
    100_000: Recipe(3, 64, 1e-4),
    float("inf"): Recipe(2, 64, 1e-4),
}
PAIRS: dict[float, Recipe] = {200: Recipe(20, 16, 1e-4, pairs=True), 800: Recipe(5, 16, 1e-4, pairs=True)}
SPARSE = 100  # texts of a class: where it has no more, what the next two have goes before the rows of above
SPARSE_RECIPES: dict[float, Recipe] = {800: RECIPES[200], 8_000: Recipe(10, 32, 1e-4)}
SPARSE_PAIRS: dict[float, Recipe] = {800: PAIRS[200]}
FEWEST = 8  # texts of a step, or it has too few pairs


def recipe(texts: int, classes: int, wanted: Wanted) -> Recipe:
    """Fill in what is auto by the number of texts to learn from, in all and of a class, and say so."""
    sparse = texts <= SPARSE * classes
    rows = RECIPES | (SPARSE_RECIPES if sparse else {})
    if not wanted.by_label:
        rows |= PAIRS | (SPARSE_PAIRS if sparse else {})
    usual = next(row for most, row in rows.items() if texts <= most)
    accumulated = wanted.gradient_accumulation
    chosen = Recipe(
        usual.epochs if wanted.epochs == "auto" else wanted.epochs,
        max(usual.texts_a_step, accumulated) if wanted.batch_size == "auto" else wanted.batch_size * accumulated,
        usual.learning_rate if wanted.learning_rate == "auto" else wanted.learning_rate,
        accumulated,
        usual.pairs,
    )
    how = "in pairs, " if chosen.pairs else "at most "
    told = f"{texts:,} texts, {texts // classes:,} of a class"
    log.info("%s: %s%d epochs in steps of %d texts, learning rate %.1e", told, how, *chosen[:3])
    if wanted.by_label and texts <= max(PAIRS):
        log.info("so few texts could be learnt from in pairs (docs/quality.md), and are not: %s", wanted.by_label)
    return chosen
