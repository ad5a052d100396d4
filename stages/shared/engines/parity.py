"""Parity: an engine and the answers of torch come in, and out goes how far the engine's answers are from them."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from serving.inference.bundle import Bundle, EngineSpec
from serving.inference.classifier import Classifier
from serving.inference.engines import start_engine
from stages.shared.calibration import at_temperature
from stages.shared.engines.check_set import CheckSet

if TYPE_CHECKING:
    import numpy as np

CALL_SIZES = (1, 8)  # texts in a call, when some texts are answered again to see how much an answer depends on the texts beside it
REPEATED_TEXTS = 256
BOUND_FACTOR = 10  # batch bound over the largest measured difference: one more rounded value can change an answer several times as much
FP32_BATCH_BOUND = 1e-5  # of a probability: the promise for fp32 in any batch
LOAD_TOLERANCE = 1e-3  # of a probability, between two machines with the same engine and precision


@dataclass(frozen=True)
class Candidate:
    """An engine, its answers at temperature 1, and the figures of its comparison with torch.

    probabilities: (texts, classes). repeated: (ways to call, some of the texts, classes), the same texts in calls of several sizes.
    """

    spec: EngineSpec
    probabilities: "np.ndarray"
    repeated: "np.ndarray"
    figures: dict[str, float]
    texts_per_second: float

    def spec_at(self, temperature: float) -> EngineSpec:
        """Return the engine at a temperature, with the bounds that hold for its answers there."""
        import numpy as np

        repeated = np.array([at_temperature(probabilities, temperature) for probabilities in self.repeated])
        bound = max(FP32_BATCH_BOUND, BOUND_FACTOR * float(np.ptp(repeated, axis=0).max()))
        return replace(self.spec, temperature=temperature, batch_bound=float(f"{bound:.1e}"), tolerance=max(LOAD_TOLERANCE, bound))

    def __str__(self) -> str:
        flips = round(self.figures["flip_share"] * len(self.probabilities))
        return (
            f"accuracy {self.figures['accuracy']:.2%}, {flips} of {len(self.probabilities):,} answers changed, largest shift "
            f"{self.figures['largest_shift']:.1e}, mean shift {self.figures['mean_shift']:.1e}, {self.figures['bytes'] / 1e6:.1f} MB, "
            f"{self.texts_per_second:,.0f} texts/s"
        )


def compare_with_torch(spec: EngineSpec, bundle: Bundle, check_set: CheckSet) -> Candidate:
    """Answer the check set with an engine, answer some texts again in smaller calls, and measure the distance from torch."""
    import numpy as np

    classifier = Classifier(bundle, spec, start_engine(spec, bundle.folder))
    classifier.predict(check_set.texts[:REPEATED_TEXTS])  # the first call of each shape is slow, and does not count
    start = time.perf_counter()
    actual = classifier.predict(check_set.texts).probabilities
    speed = len(check_set.texts) / (time.perf_counter() - start)
    shift = np.abs(actual - check_set.expected).max(axis=1)
    figures = {
        **check_set.accuracy_and_f1(actual),
        "flip_share": float((actual.argmax(axis=1) != check_set.expected.argmax(axis=1)).mean()),
        "largest_shift": float(shift.max()),
        "mean_shift": float(shift.mean()),
        "bytes": sum((bundle.folder / file).stat().st_size for file in spec.files),
    }
    rows = np.linspace(0, len(check_set.texts) - 1, min(REPEATED_TEXTS, len(check_set.texts))).astype(int)
    repeated = [_predict_in_calls(classifier, [check_set.texts[row] for row in rows], size) for size in CALL_SIZES]
    return Candidate(spec, actual, np.array([actual[rows], *repeated]), figures, speed)


def _predict_in_calls(classifier: Classifier, texts: list[str], size: int) -> "np.ndarray":
    import numpy as np

    return np.concatenate([classifier.predict(texts[start : start + size]).probabilities for start in range(0, len(texts), size)])
