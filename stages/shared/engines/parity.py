"""How far an engine's answers are from torch's, on the same texts."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from serving.inference.bundle import Bundle, EngineSpec
from serving.inference.classifier import Classifier
from serving.inference.engines import start_engine
from stages.shared.calibration import at_temperature

if TYPE_CHECKING:
    import numpy as np

CALLS = (1, 8)  # texts a call in which some are answered once more, to find how far an answer depends on those beside it
CALLED_TEXTS = 256
MARGIN = 10  # of the bound over the largest dependence seen: one rounded value more may change an answer several times as much
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
    """An engine and how it compares with torch, at temperature 1.

    probabilities: (texts, classes). called: (ways, some texts, classes), the same texts in calls of several sizes.
    """

    spec: EngineSpec
    probabilities: "np.ndarray"
    called: "np.ndarray"
    figures: dict[str, float]
    texts_per_second: float

    def spec_at(self, temperature: float) -> EngineSpec:
        """Return the engine at its temperature, with how far its answers may then depend on the texts beside."""
        import numpy as np

        called = np.array([at_temperature(probabilities, temperature) for probabilities in self.called])
        bound = max(SAME, MARGIN * float(np.ptp(called, axis=0).max()))
        return replace(self.spec, temperature=temperature, batch_bound=float(f"{bound:.1e}"), tolerance=max(LOAD_TOLERANCE, bound))

    def __str__(self) -> str:
        flips = round(self.figures["flip_share"] * len(self.probabilities))
        return (
            f"accuracy {self.figures['accuracy']:.2%}, {flips} of {len(self.probabilities):,} answers changed, shift largest "
            f"{self.figures['largest_shift']:.1e} mean {self.figures['mean_shift']:.1e}, {self.figures['bytes'] / 1e6:.1f} MB, "
            f"{self.texts_per_second:,.0f} texts/s"
        )


def compare(spec: EngineSpec, bundle: Bundle, checked: Checked) -> Candidate:
    """Let an engine answer the checked texts, together and some of them in smaller calls, and measure how far it is from torch."""
    import numpy as np

    classifier = Classifier(bundle, spec, start_engine(spec, bundle.folder))
    classifier.predict(checked.texts[:CALLED_TEXTS])
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
    rows = np.linspace(0, len(checked.texts) - 1, min(CALLED_TEXTS, len(checked.texts))).astype(int)
    called = [_in_calls(classifier, [checked.texts[row] for row in rows], size) for size in CALLS]
    return Candidate(spec, actual, np.array([actual[rows], *called]), figures, speed)


def _in_calls(classifier: Classifier, texts: list[str], size: int) -> "np.ndarray":
    import numpy as np

    return np.concatenate([classifier.predict(texts[start : start + size]).probabilities for start in range(0, len(texts), size)])
