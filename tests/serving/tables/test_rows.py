"""Tests that rows get their answers in order, under names that the file does not use."""

from collections.abc import Callable

import numpy as np

from serving.inference.classifier import Predictions
from serving.tables.rows import Answer, answer_columns, answer_names, answers_of


def test_rows_with_a_problem_get_it_as_error_and_the_others_get_the_predictions_in_order() -> None:
    probabilities = np.array([[0.75, 0.25], [0.125, 0.875]])
    nothing = np.zeros(2, dtype=bool)
    predictions = Predictions(np.array([0, 1]), probabilities, nothing, nothing, np.array([3, 3]))
    assert answers_of(["text is empty", None, "why", None], predictions) == [
        Answer(None, None, "text is empty"),
        Answer("LABEL_0", 0.75, None),
        Answer(None, None, "why"),
        Answer("LABEL_1", 0.875, None),
    ]


def test_details_stand_between_score_and_error_and_are_empty_in_rows_with_a_problem() -> None:
    yes, no = np.ones(1, dtype=bool), np.zeros(1, dtype=bool)
    predictions = Predictions(np.array([1]), np.array([[0.125, 0.875]]), no, yes, np.array([3]))
    names = ("bad", "good")
    answers = [dict(zip(answer_columns(names), answer.values, strict=True)) for answer in answers_of(["why", None], predictions, names)]
    nothing = dict.fromkeys(("label", "score", "class_name", "uncertain", "truncated", "score_bad", "score_good"))
    assert answers == [
        {**nothing, "error": "why"},
        {
            "label": "LABEL_1",
            "score": 0.875,
            "class_name": "good",
            "uncertain": True,
            "truncated": False,
            "score_bad": 0.125,
            "score_good": 0.875,
            "error": None,
        },
    ]
    assert list(answers[0]) == list(answer_columns(names))


def test_names_of_the_answer_avoid_those_of_the_file() -> None:
    names: Callable[[str], tuple[str, ...]] = lambda taken: answer_names([taken])  # noqa: E731
    assert names("text") == ("label", "score", "error")
    assert names("score") == ("predicted_label", "predicted_score", "predicted_error")
    assert names("predicted_score") == ("label", "score", "error")
