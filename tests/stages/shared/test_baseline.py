"""The linear baseline learns words and letters, tells many classes apart, and predicts held-out rows only."""

import numpy as np
import pandas as pd
import pytest

from stages.shared import baseline


def test_baseline_learns_from_the_train_split_and_takes_one_letter_words() -> None:
    train = pd.DataFrame(
        {"text": ["좋아요 굿", "최고 굿", "별로 흠", "최악 흠"] * 5 + ["a", "b"] * 5, "label": [1, 1, 0, 0] * 5 + [1, 0] * 5}
    )
    assert baseline.linear_baseline(train, ["정말 최고", "정말 최악", "a", "b"], seed=1).tolist() == [1, 0, 1, 0]


def test_baseline_of_many_classes_is_fitted_by_gradient_steps_and_tells_them_apart() -> None:
    emotions = [f"emotion{number}" for number in range(baseline.EXACT_CLASSES + 50)]
    labels = list(range(len(emotions))) * 6
    train = pd.DataFrame({"text": [f"today i feel {emotions[label]} {row}" for row, label in enumerate(labels)], "label": labels})
    predicted = baseline.linear_baseline(train, [f"i feel so {emotion} again" for emotion in emotions], seed=1)
    assert (predicted == np.arange(len(emotions))).mean() > 0.9


def test_log_probabilities_of_a_row_come_from_a_model_fitted_without_it() -> None:
    words = [f"word{number}" for number in range(200)]  # each text has its own word, which says nothing about the others
    train = pd.DataFrame({"text": [f"{'good' if number % 2 else 'bad'} {word}" for number, word in enumerate(words)]})
    right = np.arange(200) % 2
    train["label"] = np.where(np.arange(200) % 10 == 0, 1 - right, right)  # every tenth is wrong
    found = baseline.out_of_fold_log_probabilities(train, classes=3, seed=1)
    assert found.shape == (200, 3)
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)
    assert (found.argmax(1) == right).mean() > 0.95  # a model fitted on the wrong labels would repeat them
    assert (np.exp(found[:, 2]) < 1e-5).all()  # a class without texts


@pytest.mark.parametrize(("labels", "some"), [([0, 0, 1, 1], True), ([0, 0, 0, 1], False), ([1, 1, 1, 1], False)])
def test_few_rows_get_log_probabilities_if_each_class_has_two(labels: list[int], some: bool) -> None:
    train = pd.DataFrame({"text": ["bad film", "bad food", "good film", "good food"], "label": labels})
    assert (baseline.out_of_fold_log_probabilities(train, classes=2, seed=1) is not None) is some


def test_fit_uses_at_most_max_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MAX_ROWS", 40)
    train = pd.DataFrame({"text": [f"{'good' if row % 2 else 'bad'} word{row}" for row in range(200)], "label": np.arange(200) % 2})
    model = baseline.fit(train, seed=1)
    assert sum(f"word{row}" in model[0].transformer_list[0][1].vocabulary_ for row in range(200)) == 40
    assert baseline.out_of_fold_log_probabilities(train, classes=2, seed=1).shape == (200, 2)
