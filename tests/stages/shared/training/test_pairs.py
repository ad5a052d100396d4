"""Contrastive training moves texts of a class together, and its head is a calibrated logistic regression."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, set_seed

from stages.shared.batches import Texts, tokenize
from stages.shared.calibration import fit_temperature
from stages.shared.errors import StageError
from stages.shared.training.pairs import (
    ContrastiveTrainer,
    allows_contrastive_training,
    contrastive_loss,
    fit_head,
    fit_regression,
    freeze_head,
)
from tests.running import read_json, write_params
from tests.stages.training import TINY_TRAINING, Training

WORDS = [f"the {thing} was {word}" for thing in ("film", "food", "room", "book", "phone", "waiter") for word in ("good", "bad", "odd")]


def classifier(tiny_base: Path, classes: int) -> PreTrainedModel:
    set_seed(7)
    return AutoModelForSequenceClassification.from_pretrained(tiny_base, dtype=torch.float32, num_labels=classes)


def texts(tiny_base: Path, labels: list[int]) -> Texts:
    return tokenize(WORDS[: len(labels)], labels, AutoTokenizer.from_pretrained(tiny_base, model_max_length=32))


def logits_of(model: PreTrainedModel, split: Texts) -> torch.Tensor:
    """Return the logits of each text, computed alone."""
    with torch.inference_mode():
        return torch.cat([model(torch.from_numpy(split[row]["input_ids"].astype(np.int64))[None]).logits for row in range(len(split))])


EQUAL = torch.ones(16)


def test_contrastive_loss_equals_one_computed_by_hand() -> None:
    vectors = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    assert contrastive_loss(vectors, torch.tensor([0, 0, 0]), EQUAL) == pytest.approx((0 + 1 + 1) / 3 / 2)  # no pair of two classes
    assert contrastive_loss(vectors, torch.tensor([0, 0, 1]), EQUAL) == pytest.approx((1 + (0 + 1) / 2) / 2)
    assert contrastive_loss(vectors, torch.tensor([0, 1, 0]), EQUAL) == pytest.approx(0)
    assert contrastive_loss(vectors[:1], torch.tensor([1]), EQUAL) == 0


def test_weight_of_a_pair_is_the_product_of_its_class_weights() -> None:
    vectors, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 0, 1, 1])
    alike = (4 * 1 + 9 * 0) / (4 + 9)
    between = 6 * (1 + 1 + 0 + 0) / (4 * 6)
    assert contrastive_loss(vectors, labels, torch.tensor([2.0, 3.0])) == pytest.approx((alike + between) / 2)
    assert contrastive_loss(vectors, labels, torch.tensor([0.0, 3.0])) == pytest.approx(0)  # the distant pair weighs nothing


def test_trainer_applies_its_class_weights_to_the_pairs_of_a_batch(tiny_base: Path) -> None:
    model, batch = classifier(tiny_base, 2), next(texts(tiny_base, [0] * 6).sorted_batches(6, 0))
    for weights, has_loss in ((torch.tensor([0.0, 3.0]), False), (torch.tensor([3.0, 0.0]), True)):
        assert bool(ContrastiveTrainer.total_loss(SimpleNamespace(weights=weights), model, batch) > 0) == has_loss


def test_pairs_within_and_between_classes_count_the_same_however_many_there_are() -> None:
    vectors, labels = torch.eye(8), torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    assert contrastive_loss(vectors, labels, EQUAL) == pytest.approx(1 / 2)  # one pair of 28 is within a class, as distant as can be


@pytest.mark.parametrize("classes", [2, 3])
def test_fitted_head_gives_the_probabilities_of_the_regression(classes: int) -> None:
    vectors, labels = torch.randn(30, 8, generator=torch.Generator().manual_seed(7)), np.arange(30) % classes
    head, sample_weights = nn.Linear(8, classes), 1.0 + np.arange(30) % 5
    fit_regression(head, vectors, labels, sample_weights)
    length = float(vectors.square().sum(1).mean().sqrt())
    features = vectors.numpy() / length
    expected = LogisticRegression(max_iter=1000).fit(features, labels, sample_weights / sample_weights.mean()).predict_proba(features)
    assert head(vectors).detach().softmax(-1).numpy() == pytest.approx(expected, abs=2e-3)
    before = head.weight.detach().clone()
    fit_regression(head, vectors, labels, 10 * sample_weights)
    torch.testing.assert_close(head.weight.detach(), before, rtol=1e-3, atol=1e-4)


def test_class_without_texts_is_unlikely_and_the_only_class_is_likely() -> None:
    vectors, head = torch.randn(12, 8, generator=torch.Generator().manual_seed(7)), nn.Linear(8, 3)
    fit_regression(head, vectors, np.array([0, 2] * 6), np.ones(12))
    assert float(head(vectors).detach().softmax(-1)[:, 1].max()) < 1 / 12
    fit_regression(head, vectors, np.ones(12, dtype=np.int64), np.ones(12))
    assert float(head(vectors).detach().softmax(-1)[:, 1].min()) > 3 / 4


def test_head_is_calibrated_on_the_validation_texts(tiny_base: Path) -> None:
    labels = [number % 3 for number in range(len(WORDS))]
    model, train = classifier(tiny_base, 3), texts(tiny_base, labels)
    validation = texts(tiny_base, [*labels[:9], *labels[:8:-1]])  # half of the labels differ from those of the train split
    loss = fit_head(model, train, validation, EQUAL, 4)
    logits = logits_of(model, train)
    assert loss == pytest.approx(log_loss(labels, logits.softmax(-1).numpy()), abs=1e-4)
    probabilities = logits_of(model, validation).softmax(-1).numpy()
    assert fit_temperature(probabilities, validation.labels) == pytest.approx(1, abs=0.02)


def test_head_is_the_last_layer_with_an_output_for_each_class(tiny_base: Path) -> None:
    model = classifier(tiny_base, 16)  # the layer before the head has 16 outputs too
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    assert before["pre_classifier.weight"].shape == before["classifier.weight"].shape
    fit_head(model, texts(tiny_base, [*range(16)]), texts(tiny_base, [*range(16)]), EQUAL, 4)
    changed = {name for name, weights in model.state_dict().items() if not torch.equal(weights, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_weights_that_are_nan_are_an_error_message(tiny_base: Path) -> None:
    model, train = classifier(tiny_base, 2), texts(tiny_base, [0, 1] * 6)
    with torch.no_grad():
        model.pre_classifier.weight.fill_(float("nan"))
    with pytest.raises(StageError, match="the weights are NaN after the last step"):
        fit_head(model, train, train, EQUAL, 4)


SMALL = {"vocab_size": 200, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(
    ("kind", "sizes", "allowed"),
    [
        ("bert", SMALL, True),
        ("roberta", SMALL, True),
        ("electra", SMALL | {"embedding_size": 16}, True),
        ("funnel", {"vocab_size": 200, "block_sizes": [1, 1], "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32}, False),
        ("gpt2", {"vocab_size": 200, "n_embd": 16, "n_layer": 2, "n_head": 2}, False),
    ],
)
def test_base_model_needs_token_states_and_one_vector_a_text(tiny_base: Path, kind: str, sizes: dict[str, object], allowed: bool) -> None:
    train = texts(tiny_base, [0, 1] * 6)
    assert train.ids.max() < 200
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, num_labels=2, pad_token_id=0, **sizes))
    assert allows_contrastive_training(model.eval(), train) == allowed


@pytest.mark.parametrize(("kind", "sizes"), [("bert", SMALL), ("electra", SMALL | {"embedding_size": 8}), ("roberta", SMALL)])
def test_every_parameter_that_is_not_frozen_gets_a_gradient(kind: str, sizes: dict[str, object]) -> None:
    """`pooler` is a private name of transformers. With another name a pooler would not be frozen, and would get no gradient."""
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, num_labels=2, pad_token_id=0, **sizes))
    freeze_head(model)
    model(input_ids=torch.tensor([[5, 6, 7]]), output_hidden_states=True).hidden_states[-1].sum().backward()
    assert {name for name, weights in model.named_parameters() if weights.requires_grad and weights.grad is None} == set()
    assert not any(weights.requires_grad for name, weights in model.named_parameters() if "classifier" in name)


@pytest.mark.parametrize("changes", [{}, {"class_weights": [1, 2]}, {"label_smoothing": 0.1}, {"epochs": 2}, {"batch_size": 4}])
def test_few_texts_get_contrastive_training_unless_params_rule_it_out(
    tiny_model: Path, tiny_base: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    params_file = write_params(tmp_path / "params.yaml", {"train": TINY_TRAINING | {"epochs": "auto"} | changes})
    training = Training(tiny_model, tiny_base, tmp_path / "root", params_file)
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.stderr
    allowed = changes.keys() <= {"class_weights"}
    assert read_json(training.root / "train.json")["recipe"]["pairs"] == allowed
    assert ("contrastive training is off: train." in training.stderr) == (not allowed)
