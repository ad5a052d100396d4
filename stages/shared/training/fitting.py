"""Fitting: the trainer that a recipe asks for, contrastive or cross-entropy, from the model and the texts that `train` prepared.

In: a Prepared, a Recipe and a few params. Out: a Trainer that is ready to train.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transformers import EarlyStoppingCallback, PreTrainedModel, PreTrainedTokenizerBase

from stages.shared.batches import PaddingCollator, Texts
from stages.shared.training.classifier import ClassifierTrainer, CrossEntropyTrainer, evaluation_batch_size
from stages.shared.training.learning_curve import DECISIVE
from stages.shared.training.loss import TrainingLoss
from stages.shared.training.machine import Machine
from stages.shared.training.narrow_embeddings import NarrowEmbeddings
from stages.shared.training.pairs import ContrastiveTrainer
from stages.shared.training.recipe import Recipe
from stages.shared.training.sampler import TokenDropout
from stages.shared.training.trainer import arguments
from stages.shared.training.vocabulary.refit import EMBEDDING_RATE


@dataclass(frozen=True)
class Prepared:
    """The inputs of a training. The ids of the texts are those of the narrowed embeddings.

    coverage: shares of tokens that say nothing, in the base model's own vocabulary. is_refit: whether a fitted vocabulary replaced it.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    texts: Mapping[str, Texts]
    narrow: NarrowEmbeddings
    loss: TrainingLoss
    coverage: Mapping[str, float]
    is_refit: bool


def make_trainer(
    prepared: Prepared,
    recipe: Recipe,
    machine: Machine,
    checkpoints_dir: Path,
    *,
    warmup_ratio: float,
    token_dropout: float,
    early_stopping_patience: int,
    seed: int,
) -> ClassifierTrainer:
    """Return the trainer. In cross-entropy training it keeps the epoch with the lowest calibrated validation loss.

    In contrastive training it keeps the last epoch, reads the texts unmasked and does not stop early.
    """
    contrastive, loss, narrow = recipe.pairs, prepared.loss, prepared.narrow
    trainer = partial(ContrastiveTrainer, weights=loss.weights) if contrastive else partial(CrossEntropyTrainer, loss=loss)
    share = 0.0 if contrastive else token_dropout
    return trainer(
        model=prepared.model,
        args=arguments(
            machine,
            output_dir=str(checkpoints_dir),
            num_train_epochs=recipe.epochs,
            gradient_accumulation_steps=recipe.parts_of_a_step,
            per_device_eval_batch_size=evaluation_batch_size(prepared.texts, recipe),
            learning_rate=recipe.learning_rate,
            warmup_steps=warmup_ratio,  # under 1, the Trainer reads it as a share of the steps
            seed=seed,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=not contrastive,
            metric_for_best_model=f"eval_{DECISIVE}",
            greater_is_better=False,
        ),
        batch_size=recipe.texts_a_step,
        embedding_rate=EMBEDDING_RATE if prepared.is_refit else 1.0,
        train_dataset=TokenDropout.of(prepared.texts["train"], share, seed, narrow.mask_id, narrow.special_ids),
        eval_dataset=prepared.texts["validation"].longest_first(),
        data_collator=PaddingCollator(prepared.model.config.pad_token_id),
        callbacks=[] if contrastive else [EarlyStoppingCallback(early_stopping_patience)],
    )
