"""That pairs draw the texts of a class together, and that the last layer is the regression it is said to be."""

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
from stages.shared.training.pairs import ContrastiveTrainer, allows_contrastive_training, contrastive_loss, fit_head, solve

WORDS = [f"the {thing} was {word}" for thing in ("film", "food", "room", "book", "phone", "waiter") for word in ("good", "bad", "odd")]


def classifier(tiny_base: Path, classes: int) -> PreTrainedModel:
    set_seed(7)
    return AutoModelForSequenceClassification.from_pretrained(tiny_base, dtype=torch.float32, num_labels=classes)


def texts(tiny_base: Path, labels: list[int]) -> Texts:
    return tokenize(WORDS[: len(labels)], labels, AutoTokenizer.from_pretrained(tiny_base, model_max_length=32))


def answers(model: PreTrainedModel, asked: Texts) -> torch.Tensor:
    """Return the logits of each text by itself."""
    with torch.inference_mode():
        return torch.cat([model(torch.from_numpy(asked[row]["input_ids"].astype(np.int64))[None]).logits for row in range(len(asked))])


EQUAL = torch.ones(16)


def test_loss_of_pairs_is_that_worked_out_by_hand() -> None:
    vectors = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    assert contrastive_loss(vectors, torch.tensor([0, 0, 0]), EQUAL) == pytest.approx((0 + 1 + 1) / 3 / 2)  # no pair of two classes
    assert contrastive_loss(vectors, torch.tensor([0, 0, 1]), EQUAL) == pytest.approx((1 + (0 + 1) / 2) / 2)
    assert contrastive_loss(vectors, torch.tensor([0, 1, 0]), EQUAL) == pytest.approx(0)
    assert contrastive_loss(vectors[:1], torch.tensor([1]), EQUAL) == 0


def test_pair_weighs_the_product_of_its_classes() -> None:
    vectors, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 0, 1, 1])
    alike = (4 * 1 + 9 * 0) / (4 + 9)
    between = 6 * (1 + 1 + 0 + 0) / (4 * 6)
    assert contrastive_loss(vectors, labels, torch.tensor([2.0, 3.0])) == pytest.approx((alike + between) / 2)
    assert contrastive_loss(vectors, labels, torch.tensor([0.0, 3.0])) == pytest.approx(0)  # the pair that is far off counts for nothing


def test_trainer_weighs_the_pairs_of_a_batch_by_its_weights(tiny_base: Path) -> None:
    model, batch = classifier(tiny_base, 2), next(texts(tiny_base, [0] * 6).sorted_batches(6, 0))
    for weights, moves in ((torch.tensor([0.0, 3.0]), False), (torch.tensor([3.0, 0.0]), True)):
        assert bool(ContrastiveTrainer.total_loss(SimpleNamespace(weights=weights), model, batch) > 0) == moves


def test_rare_kind_of_pairs_counts_as_much_as_the_frequent_one() -> None:
    vectors, labels = torch.eye(8), torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    assert contrastive_loss(vectors, labels, EQUAL) == pytest.approx(1 / 2)  # one pair of a class among 28, and it is as far off as can be


@pytest.mark.parametrize("classes", [2, 3])
def test_layer_that_is_solved_for_gives_the_probabilities_of_the_regression(classes: int) -> None:
    vectors, labels = torch.randn(30, 8, generator=torch.Generator().manual_seed(7)), np.arange(30) % classes
    layer, shares = nn.Linear(8, classes), 1.0 + np.arange(30) % 5
    solve(layer, vectors, labels, shares)
    length = float(vectors.square().sum(1).mean().sqrt())
    features = vectors.numpy() / length
    expected = LogisticRegression(max_iter=1000).fit(features, labels, shares / shares.mean()).predict_proba(features)
    assert layer(vectors).detach().softmax(-1).numpy() == pytest.approx(expected, abs=2e-3)
    before = layer.weight.detach().clone()
    solve(layer, vectors, labels, 10 * shares)
    torch.testing.assert_close(layer.weight.detach(), before, rtol=1e-3, atol=1e-4)


def test_class_without_texts_is_unlikely_and_a_class_alone_likely() -> None:
    vectors, layer = torch.randn(12, 8, generator=torch.Generator().manual_seed(7)), nn.Linear(8, 3)
    solve(layer, vectors, np.array([0, 2] * 6), np.ones(12))
    assert float(layer(vectors).detach().softmax(-1)[:, 1].max()) < 1 / 12
    solve(layer, vectors, np.ones(12, dtype=np.int64), np.ones(12))
    assert float(layer(vectors).detach().softmax(-1)[:, 1].min()) > 3 / 4


def test_answers_are_as_sure_of_the_asked_texts_as_they_are_right(tiny_base: Path) -> None:
    labels = [number % 3 for number in range(len(WORDS))]
    model, learnt = classifier(tiny_base, 3), texts(tiny_base, labels)
    asked = texts(tiny_base, [*labels[:9], *labels[:8:-1]])  # half of them right, as far as the model can tell
    loss = fit_head(model, learnt, asked, EQUAL, 4)
    logits = answers(model, learnt)
    assert loss == pytest.approx(log_loss(labels, logits.softmax(-1).numpy()), abs=1e-4)
    shares = answers(model, asked).softmax(-1).numpy()
    assert fit_temperature(shares, asked.labels) == pytest.approx(1, abs=0.02)


def test_layer_that_is_solved_for_is_the_last_one_of_as_many_outputs_as_classes(tiny_base: Path) -> None:
    model = classifier(tiny_base, 16)  # which the layer before it has too
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    assert before["pre_classifier.weight"].shape == before["classifier.weight"].shape
    fit_head(model, texts(tiny_base, [*range(16)]), texts(tiny_base, [*range(16)]), EQUAL, 4)
    changed = {name for name, weights in model.state_dict().items() if not torch.equal(weights, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_model_that_is_not_a_number_is_a_sentence(tiny_base: Path) -> None:
    model, learnt = classifier(tiny_base, 2), texts(tiny_base, [0, 1] * 6)
    with torch.no_grad():
        model.pre_classifier.weight.fill_(float("nan"))
    with pytest.raises(StageError, match="the model is not a number"):
        fit_head(model, learnt, learnt, EQUAL, 4)


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
def test_bases_that_pairs_do_not_know_are_told_apart(tiny_base: Path, kind: str, sizes: dict[str, object], allowed: bool) -> None:
    asked = texts(tiny_base, [0, 1] * 6)
    assert asked.ids.max() < 200
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, num_labels=2, pad_token_id=0, **sizes))
    assert allows_contrastive_training(model.eval(), asked) == allowed
