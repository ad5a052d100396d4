"""The engine of a peer: a pipeline of transformers on torch, or the project's classifier with the same call. ENGINE chooses."""

import os
from collections.abc import Callable
from typing import Any

Classify = Callable[[str | list[str]], list[dict[str, Any]]]
MODEL, BUNDLE = "models/final", "models/serving"
BATCH = 8  # texts: the fastest batch of the pipeline on one core, because it does not sort texts by length


def start() -> Classify:
    """Return a function that takes a text or texts and returns `{"label", "score"}` of each. ENGINE is `torch` or `ours`."""
    return torch_pipeline() if os.environ["ENGINE"] == "torch" else our_classifier()


def torch_pipeline() -> Classify:
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    classify: Classify = pipeline("text-classification", model=MODEL, device="cpu", batch_size=BATCH)
    return classify


def our_classifier() -> Classify:
    from serving.inference.classifier import Classifier
    from serving.inference.labels import label_name

    classifier = Classifier.load(BUNDLE, threads=1)

    def classify(texts: str | list[str]) -> list[dict[str, Any]]:
        answers = classifier.predict([texts] if isinstance(texts, str) else texts)
        pairs = zip(answers.label_ids.tolist(), answers.scores.tolist(), strict=True)
        return [{"label": label_name(label_id), "score": score} for label_id, score in pairs]

    return classify
