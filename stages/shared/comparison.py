"""How far an engine's answers are from torch's, on the same texts."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from serving.inference.bundle import Bundle, EngineSpec
from serving.inference.classifier import Classifier
from serving.inference.engines import start_engine

if TYPE_CHECKING:
    import numpy as np

ALONE_TEXTS = 200  # also answered one by one, to find how far an answer depends on its batch
SAME = 1e-5  # of a probability: the promise for fp32, whatever the batch
LOAD_TOLERANCE = 1e-3  # of a probability, between two machines of the same engine and precision


@dataclass(frozen=True)
class Checked:
    """The texts on which engines are compared with torch: validation first, then train. labels: (texts,), expected: (texts, classes)."""

    texts: list[str]
    labels: "np.ndarray"
    expected: "np.ndarray"
    validation: int

    def accuracy_and_f1(self, probabilities: "np.ndarray") -> dict[str, float]:
        """Score answers (texts, classes) on the validation texts."""
        from sklearn.metrics import accuracy_score, f1_score

        truth, answers = self.labels[: self.validation], probabilities[: self.validation].argmax(axis=1)
        return {
            "accuracy": float(accuracy_score(truth, answers)),
            "f1": float(f1_score(truth, answers, labels=range(probabilities.shape[1]), average="macro", zero_division=0)),
        }


@dataclass(frozen=True)
class Candidate:
    """An engine and how it compares with torch. probabilities: (texts, classes), at temperature 1."""

    spec: EngineSpec
    probabilities: "np.ndarray"
    figures: dict[str, float]
    texts_per_second: float

    def __str__(self) -> str:
        flips = round(self.figures["flip_share"] * len(self.probabilities))
        return (
            f"accuracy {self.figures['accuracy']:.2%}, {flips} of {len(self.probabilities):,} answers changed, shift largest "
            f"{self.figures['largest_shift']:.1e} mean {self.figures['mean_shift']:.1e}, {self.figures['bytes'] / 1e6:.1f} MB, "
            f"{self.texts_per_second:,.0f} texts/s"
        )


def compare(spec: EngineSpec, bundle: Bundle, checked: Checked) -> Candidate:
    """Let an engine answer the checked texts, together and some of them alone, and measure how far it is from torch."""
    import numpy as np

    classifier = Classifier(bundle, spec, start_engine(spec, bundle.folder))
    classifier.predict(checked.texts[:ALONE_TEXTS])
    start = time.perf_counter()
    actual = classifier.predict(checked.texts).probabilities
    speed = len(checked.texts) / (time.perf_counter() - start)
    shift = np.abs(actual - checked.expected).max(axis=1)
    figures = {
        **checked.accuracy_and_f1(actual),
        "flip_share": float((actual.argmax(axis=1) != checked.expected.argmax(axis=1)).mean()),
        "largest_shift": float(shift.max()),
        "mean_shift": float(shift.mean()),
        "bytes": sum((bundle.folder / file).stat().st_size for file in spec.files),
    }
    bound = max(SAME, 2 * _batch_difference(classifier, checked.texts, actual))
    spec = replace(spec, batch_bound=float(f"{bound:.1e}"), tolerance=max(LOAD_TOLERANCE, bound))
    return Candidate(spec, actual, figures, speed)


def _batch_difference(classifier: Classifier, texts: list[str], together: "np.ndarray") -> float:
    """Return the largest difference between a text's answer alone and among others."""
    import numpy as np

    rows = np.linspace(0, len(texts) - 1, min(ALONE_TEXTS, len(texts))).astype(int)
    alone = np.concatenate([classifier.predict([texts[row]]).probabilities for row in rows])
    return float(np.abs(alone - together[rows]).max())
