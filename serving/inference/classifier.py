"""The one way to get a prediction: used by evaluate, the server, the tests and the benchmarks. No torch, no web framework."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from serving.inference.bundle import Bundle, EngineSpec, read_bundle
from serving.inference.engines import Engine, import_runtime, start_engine
from serving.inference.errors import BundleBroken
from serving.inference.packing import Packer
from serving.inference.probabilities import Probabilities, softmax
from serving.inference.redaction import redact
from serving.inference.text import clean_text, require_characters
from serving.inference.tokens import TextEncoder

log = logging.getLogger("classifier")


class Predictions(NamedTuple):
    """Answers in the order of the texts.

    label_ids: (texts,). truncated: (texts,), whether the text was longer than the model reads. uncertain: (texts,), whether the
    score is below the bundle's threshold. tokens: (texts,), that were read.
    """

    label_ids: NDArray[np.int64]
    probabilities: Probabilities
    truncated: NDArray[np.bool_]
    uncertain: NDArray[np.bool_]
    tokens: NDArray[np.int64]

    def rows(self, start: int, end: int) -> "Predictions":
        """Return the answers of some of the texts."""
        return Predictions._make(column[start:end] for column in self)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Probability of the answered class of each text, (texts,)."""
        scores: NDArray[np.float64] = self.probabilities.max(axis=1)
        return scores


class Classifier:
    """A loaded bundle with one started engine. Safe to share between threads, which then take turns."""

    def __init__(self, bundle: Bundle, spec: EngineSpec, engine: Engine) -> None:
        self.bundle = bundle
        self.spec = spec
        self._engine = engine
        self._encoder = TextEncoder(bundle)
        self._packer = Packer(bundle.max_length, bundle.pad_token_id, shared_rows=engine.shares_rows)
        self._turn = threading.Lock()

    @classmethod
    def load(cls, folder: Path | str, engine: str | None = None, threads: int | None = None, cache: Path | None = None) -> Self:
        """Load a bundle with the first of its engines that runs here and gives the answers it was evaluated with.

        engine: name of the one engine to use instead. threads: None takes all cores given. cache: folder where engines keep what
        they have compiled.
        Raises BundleBroken where the bundle is missing or damaged, or no engine answers as it should.
        """
        with ThreadPoolExecutor(1) as reader:  # hashing and importing take a tenth of a second each
            reading = reader.submit(read_bundle, Path(folder))
            import_runtime()
            bundle = reading.result()
        specs = [spec for spec in bundle.engines if engine in (None, spec.name)]
        if not specs:
            raise BundleBroken(f"{folder} has no engine {engine!r} (it has {', '.join(spec.name for spec in bundle.engines)})")
        refusals = []
        for spec in specs:
            try:
                classifier = cls(bundle, spec, start_engine(spec, bundle.folder, threads, cache))
                classifier.check_reference()
            except (ModuleNotFoundError, BundleBroken) as error:
                log.warning("engine %s is not used: %s", spec.name, error)
                refusals.append(f"{spec.name}: {error}")
            else:
                return classifier
        raise BundleBroken(f"no engine of {folder} can be used here ({'; '.join(refusals)})")

    def check_reference(self) -> None:
        """Raise BundleBroken unless the reference texts are answered as when the bundle was made."""
        expected = np.array(self.bundle.reference_probabilities[self.spec.name])
        actual = self.predict(self.bundle.reference_texts).probabilities
        if expected.shape != actual.shape:
            raise BundleBroken(f"its reference answers are {expected.shape}, not {actual.shape}: build the bundle again")
        difference = float(np.abs(actual - expected).max(initial=0))
        if not difference <= self.spec.tolerance:  # also where it is no number
            raise BundleBroken(
                f"its answers on this machine differ by up to {difference:.4f} from those that were evaluated "
                f"(limit {self.spec.tolerance:g}): build the bundle on this kind of CPU"
            )

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Classify texts; an empty list gives empty arrays. Raises TextRefused for a lone surrogate or a NUL."""
        cleaned = [redact(clean_text(require_characters(text)), self.bundle.redact) for text in texts]
        probabilities = np.zeros((len(texts), len(self.bundle.class_names)))
        with self._turn:
            token_ids, truncated = self._encoder.encode(cleaned)
            for rows, answers, batch in self._packer.pack(token_ids):
                probabilities[rows] = softmax(self._engine.logits(batch)[answers] / self.spec.temperature)
        tokens = np.array([len(ids) for ids in token_ids], dtype=np.int64)
        uncertain = probabilities.max(axis=1, initial=0) < self.bundle.uncertain_below
        return Predictions(probabilities.argmax(axis=1), probabilities, truncated, uncertain, tokens)
