"""How long, in what steps and how fast to learn from so many texts, for params that leave it open.

Few texts need many epochs in small steps, for a step is what moves the weights (docs/lab/few-texts.md).
"""

import logging
from typing import Literal, NamedTuple

log = logging.getLogger("train")


class Recipe(NamedTuple):
    """texts_a_step: on average; learning_rate: its peak; parts_of_a_step: batches that a step is computed in.

    pairs: whether pairs are learnt from in the place of labels (ContrastiveTrainer).
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


ANY = float("inf")
RECIPES = (  # for up to so many texts, up to so many of a class; the first row that fits
    (800, 100, Recipe(20, 16, 1e-4, pairs=True)),
    (800, 100, Recipe(20, 16, 1e-4)),
    (800, ANY, Recipe(5, 16, 1e-4, pairs=True)),
    (800, ANY, Recipe(10, 16, 5e-5)),
    (8_000, 100, Recipe(10, 32, 1e-4)),
    (8_000, ANY, Recipe(5, 32, 5e-5)),
    (100_000, ANY, Recipe(3, 64, 1e-4)),
    (ANY, ANY, Recipe(2, 64, 1e-4)),
)
FEWEST = 8  # texts of a step, or it has too few pairs


def usual(texts: int, classes: int, *, in_pairs: bool = True) -> Recipe:
    """Return what so many texts of so many classes are learnt from with; in_pairs: whether they may be."""
    fitting = (row for most, of_a_class, row in RECIPES if texts <= most and texts <= of_a_class * classes)
    return next(row for row in fitting if in_pairs or not row.pairs)


def recipe(texts: int, classes: int, wanted: Wanted) -> Recipe:
    """Fill in what is auto by the number of texts to learn from, in all and of a class, and say so."""
    row = usual(texts, classes, in_pairs=not wanted.by_label)
    accumulated = wanted.gradient_accumulation
    chosen = Recipe(
        row.epochs if wanted.epochs == "auto" else wanted.epochs,
        max(row.texts_a_step, accumulated) if wanted.batch_size == "auto" else wanted.batch_size * accumulated,
        row.learning_rate if wanted.learning_rate == "auto" else wanted.learning_rate,
        accumulated,
        row.pairs,
    )
    how = "in pairs, " if chosen.pairs else "at most "
    told = f"{texts:,} texts, {texts // classes:,} of a class"
    log.info("%s: %s%d epochs in steps of %d texts, learning rate %.1e", told, how, *chosen[:3])
    if wanted.by_label and usual(texts, classes).pairs:
        log.info("so few texts could be learnt from in pairs (docs/lab/few-texts.md), and are not: %s", wanted.by_label)
    return chosen
