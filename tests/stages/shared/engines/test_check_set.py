"""The check set: validation texts come first, torch answers a text alone as in a batch, and scores are of validation texts."""

from pathlib import Path

import numpy as np
import pytest

from stages import export
from stages.shared.engines import check_set as module
from stages.shared.engines.check_set import CheckSet, read_check_set, torch_probabilities
from stages.shared.splits import read_split


def test_validation_texts_come_first_and_the_number_is_limited(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validation, train = (read_split(tiny_model / f"{name}.csv")["text"].tolist() for name in ("validation", "train"))
    monkeypatch.setattr(module, "CHECK_TEXTS", len(validation) + 3)
    model, tokenizer = export.load_model(tiny_model / "final")
    found = read_check_set(model, tokenizer, tiny_model / "train.csv", tiny_model / "validation.csv")
    assert found.texts == [*validation, *train[:3]]
    assert found.validation == len(validation)
    assert found.expected.shape == (len(found.texts), 2)
    monkeypatch.setattr(module, "CHECK_TEXTS", 2)
    few = read_check_set(model, tokenizer, tiny_model / "train.csv", tiny_model / "validation.csv")
    assert (few.texts, few.validation) == (validation[:2], 2)


def test_torch_answers_texts_in_a_batch_as_it_answers_them_alone(tiny_model: Path) -> None:
    model, tokenizer = export.load_model(tiny_model / "final")
    texts = ["good", "", "the film was very bad", "영화 정말 좋아요", "a" * 500]
    alone = np.concatenate([torch_probabilities(model, tokenizer, [text]) for text in texts])
    np.testing.assert_allclose(torch_probabilities(model, tokenizer, texts), alone, atol=1e-5)


def test_scores_are_those_of_the_validation_texts() -> None:
    answers = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.9, 0.1]])
    found = CheckSet(["a", "b", "c", "d"], np.array([0, 1, 1, 1]), answers, validation=3).accuracy_and_f1(answers)
    assert found == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3)}
