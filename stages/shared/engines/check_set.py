"""The check set: texts of the splits come in, and go out with the answers of torch, which each engine must give too."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.splits import read_split

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHECK_TEXTS = 2_000


@dataclass(frozen=True)
class CheckSet:
    """The texts on which engines are compared with torch: validation texts first, then train texts.

    labels: class ids (texts,). expected: the probabilities of torch (texts, classes). validation: number of validation texts.
    """

    texts: list[str]
    labels: "np.ndarray"
    expected: "np.ndarray"
    validation: int

    def accuracy_and_f1(self, probabilities: "np.ndarray") -> dict[str, float]:
        """Score probabilities (texts, classes) on the validation texts."""
        from sklearn.metrics import accuracy_score, f1_score

        truth, answers = self.labels[: self.validation], probabilities[: self.validation].argmax(axis=1)
        return {
            "accuracy": float(accuracy_score(truth, answers)),
            "f1": float(f1_score(truth, answers, labels=range(probabilities.shape[1]), average="macro", zero_division=0)),
        }


def read_check_set(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", train: Path, validation: Path) -> CheckSet:
    """Read up to 2,000 texts of the two splits, validation texts first, and answer them with torch."""
    import pandas as pd

    first = read_split(validation)[:CHECK_TEXTS]
    rows = pd.concat([first, read_split(train)])[:CHECK_TEXTS]
    texts = rows["text"].tolist()
    return CheckSet(texts, rows["label"].to_numpy(), torch_probabilities(model, tokenizer, texts), len(first))


def torch_probabilities(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> "np.ndarray":
    """Return the probabilities (texts, classes) that torch computes in fp32."""
    import numpy as np
    import torch

    from stages.shared.batches import tokenize

    probabilities = np.zeros((len(texts), model.config.num_labels))
    with torch.inference_mode():
        for batch in tokenize(texts, None, tokenizer).sorted_batches(32, tokenizer.pad_token_id):
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            probabilities[batch["row"]] = logits.double().softmax(dim=-1).numpy()
    return probabilities
