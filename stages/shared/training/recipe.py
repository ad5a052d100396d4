"""The training recipe: what `auto` means for epochs, texts a step and learning rate.

In: the number of texts and classes, and the train params. Out: a Recipe, which the log states too.
Few texts need many epochs in small steps, because each step moves the weights (docs/lab/few-texts.md).
So do several classes, the rarest of which has few texts (docs/lab/training.md).
"""

import logging
from typing import Literal, NamedTuple

log = logging.getLogger("recipe")


class Recipe(NamedTuple):
    """The values that a training uses. The field names are keys of metrics/train.json.

    texts_a_step: on average. learning_rate: its peak. parts_of_a_step: micro-batches of a step.
    pairs: contrastive training, not cross-entropy training.
    """

    epochs: int
    texts_a_step: int
    learning_rate: float
    parts_of_a_step: int = 1
    pairs: bool = False


class Wanted(NamedTuple):
    """The train params as given ("auto" where left open).

    contrastive_refused: why contrastive training is ruled out (None: it is allowed).
    """

    epochs: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] = "auto"
    gradient_accumulation: int = 1
    learning_rate: float | Literal["auto"] = "auto"
    contrastive_refused: str | None = None


ANY = float("inf")
RECIPES = (  # most texts, most texts of a class on average, fewest classes, recipe; the first row that fits counts
    (800, 100, 2, Recipe(20, 16, 1e-4, pairs=True)),
    (800, 100, 2, Recipe(20, 16, 1e-4)),
    (800, ANY, 2, Recipe(5, 16, 1e-4, pairs=True)),
    (800, ANY, 2, Recipe(10, 16, 5e-5)),
    (8_000, 100, 2, Recipe(10, 32, 1e-4)),
    (8_000, ANY, 3, Recipe(10, 32, 5e-5)),
    (8_000, ANY, 2, Recipe(5, 32, 5e-5)),
    (100_000, ANY, 2, Recipe(3, 64, 1e-4)),
    (ANY, ANY, 2, Recipe(2, 64, 1e-4)),
)
MIN_CONTRASTIVE_BATCH = 8  # texts of a step; fewer make too few pairs


def default_recipe(texts: int, classes: int, *, contrastive: bool = True) -> Recipe:
    """Return the recipe for a number of texts and classes; contrastive: whether contrastive training is allowed."""
    fitting = (row for most, of_a_class, least, row in RECIPES if texts <= most and texts <= of_a_class * classes and classes >= least)
    return next(row for row in fitting if contrastive or not row.pairs)


def recipe(texts: int, classes: int, wanted: Wanted) -> Recipe:
    """Return the recipe with the given params in place of the defaults, and log it."""
    default = default_recipe(texts, classes, contrastive=not wanted.contrastive_refused)
    accumulation = wanted.gradient_accumulation
    chosen = Recipe(
        default.epochs if wanted.epochs == "auto" else wanted.epochs,
        max(default.texts_a_step, accumulation) if wanted.batch_size == "auto" else wanted.batch_size * accumulation,
        default.learning_rate if wanted.learning_rate == "auto" else wanted.learning_rate,
        accumulation,
        default.pairs,
    )
    log.info(
        "%s texts, %s per class on average: %s %d epochs in steps of %d texts, learning rate %.1e",
        f"{texts:,}", f"{texts // classes:,}", "contrastive training," if chosen.pairs else "at most", *chosen[:3],
    )  # fmt: skip
    if wanted.contrastive_refused and default_recipe(texts, classes).pairs:
        log.info("contrastive training is off: %s (docs/how-to/few-texts.md)", wanted.contrastive_refused)
    return chosen
