"""The neutral name of a class is the one that transformers gives it."""

from transformers import DistilBertConfig

from serving.inference.labels import label_name


def test_neutral_names_are_those_of_transformers() -> None:
    assert {number: label_name(number) for number in range(12)} == DistilBertConfig(num_labels=12).id2label
