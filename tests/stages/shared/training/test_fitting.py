"""The recipe decides how the trainer trains: contrastive or cross-entropy."""

from pathlib import Path

import pytest
import torch

from stages.shared.batches import load_tokenizer, tokenize
from stages.shared.training.classifier import CrossEntropyTrainer, load_classifier
from stages.shared.training.fitting import Prepared, make_trainer
from stages.shared.training.loss import TrainingLoss
from stages.shared.training.machine import Machine
from stages.shared.training.narrow_embeddings import NarrowEmbeddings
from stages.shared.training.pairs import ContrastiveTrainer
from stages.shared.training.recipe import Recipe
from stages.shared.training.sampler import TokenDropout

MACHINE = Machine("cpu", "fp32", threads=1, processes=1)


@pytest.fixture
def prepared(tiny_base: Path) -> Prepared:
    tokenizer = load_tokenizer(tiny_base, 32, "train.max_length")
    texts = tokenize(["the film was good", "the food was very bad"] * 8, [1, 0] * 8, tokenizer)
    model = load_classifier(tiny_base, ("negative", "positive"), MACHINE, 32, seed=7)
    narrow = NarrowEmbeddings(model, [texts], tokenizer)
    splits = dict.fromkeys(("train", "validation"), texts.with_ids(narrow.to_narrow_ids(texts.ids)))
    return Prepared(model, tokenizer, splits, narrow, TrainingLoss(torch.ones(2), 0.0, None), coverage={}, is_refit=False)


@pytest.mark.parametrize(("contrastive", "trainer_class"), [(False, CrossEntropyTrainer), (True, ContrastiveTrainer)])
def test_contrastive_training_keeps_the_last_epoch_reads_unmasked_texts_and_does_not_stop_early(
    prepared: Prepared, contrastive: bool, trainer_class: type, tmp_path: Path
) -> None:
    recipe = Recipe(3, 8, 1e-4, parts_of_a_step=2, pairs=contrastive)
    shared = {"warmup_ratio": 0.1, "token_dropout": 0.1, "early_stopping_patience": 2, "seed": 7}
    trainer = make_trainer(prepared, recipe, MACHINE, tmp_path, **shared)
    assert isinstance(trainer, trainer_class)
    assert trainer.args.load_best_model_at_end is not contrastive
    assert isinstance(trainer.train_dataset, TokenDropout) is not contrastive
    assert ("EarlyStoppingCallback" in trainer.callback_handler.callback_list) is not contrastive
    assert (trainer.args.num_train_epochs, trainer.args.gradient_accumulation_steps, trainer.sampler().steps) == (3, 2, 2)
