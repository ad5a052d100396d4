"""The classifier: texts come in, predictions go out.

This is the one way to a prediction: `evaluate`, the server, the tests and the benchmarks use it. It needs no torch and no web framework.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from serving.inference.bundle import REBUILD, Bundle, EngineSpec, read_bundle
from serving.inference.engines import Engine, import_runtime, start_engine
from serving.inference.errors import BundleBroken
from serving.inference.packing import Packer
from serving.inference.probabilities import Probabilities, softmax
from serving.inference.redaction import redact
from serving.inference.text import clean_text, require_characters
from serving.inference.tokens import BundleTokenizer

log = logging.getLogger("classifier")


class Predictions(NamedTuple):
    """The answers in the order of the texts.

    label_ids: (texts,). truncated: (texts,), whether the text is longer than `max_length`. uncertain: (texts,), whether the score is
    below the bundle's `uncertain_below`. tokens: (texts,), number of tokens that the model read.
    """

    label_ids: NDArray[np.int64]
    probabilities: Probabilities
    truncated: NDArray[np.bool_]
    uncertain: NDArray[np.bool_]
    tokens: NDArray[np.int64]

    def rows(self, start: int, end: int) -> "Predictions":
        """Return the answers to the texts from `start` to before `end`."""
        return Predictions._make(column[start:end] for column in self)

    @property
    def scores(self) -> NDArray[np.float64]:
        """The probability of each answer, (texts,)."""
        scores: NDArray[np.float64] = self.probabilities.max(axis=1)
        return scores


class Classifier:
    """A loaded bundle with one started engine. Threads may share it: they take turns."""

    def __init__(self, bundle: Bundle, spec: EngineSpec, engine: Engine) -> None:
        self.bundle = bundle
        self.spec = spec
        self.engine = engine
        self._tokenizer = BundleTokenizer(bundle)
        self._packer = Packer(bundle.max_length, bundle.pad_token_id, shared_rows=engine.shares_rows)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path | str, engine: str | None = None, threads: int | None = None, cache: Path | None = None) -> Self:
        """Load a bundle with the first of its engines that works on this machine and gives the reference answers.

        engine: name of the only engine to try. threads: None takes all usable cores. cache: folder where engines keep compiled models.
        Raises BundleBroken if the bundle is missing or damaged, or if no engine gives the reference answers.
        """
        with ThreadPoolExecutor(1) as pool:  # hashing and importing take 0.1 s each
            future = pool.submit(read_bundle, Path(folder))
            import_runtime()
            bundle = future.result()
        specs = [spec for spec in bundle.engines if engine in (None, spec.name)]
        if not specs:
            names = ", ".join(spec.name for spec in bundle.engines)
            raise BundleBroken(f"{folder} has no engine {engine!r} (it has {names}): choose one that it has")
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
        raise BundleBroken(f"no engine of {folder} works on this machine ({'; '.join(refusals)}): {REBUILD} on it")

    def check_reference(self) -> None:
        """Raise BundleBroken unless this engine gives the reference answers."""
        expected = np.array(self.bundle.reference_probabilities[self.spec.name])
        actual = self.predict(self.bundle.reference_texts).probabilities
        if expected.shape != actual.shape:
            raise BundleBroken(f"its reference answers have the shape {expected.shape}, not {actual.shape}: {REBUILD}")
        difference = float(np.abs(actual - expected).max(initial=0))
        if not difference <= self.spec.tolerance:  # true for NaN too
            raise BundleBroken(
                f"its answers on this machine differ by up to {difference:.4f} from those that were evaluated "
                f"(limit {self.spec.tolerance:g}): build the bundle on a CPU like this one"
            )

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Classify texts. An empty list gives empty arrays. Raises TextRefused for a lone surrogate or a NUL."""
        cleaned = [redact(clean_text(require_characters(text)), self.bundle.redact) for text in texts]
        probabilities = np.zeros((len(texts), len(self.bundle.class_names)))
        with self._lock:
            token_ids, truncated = self._tokenizer.tokenize(cleaned)
            for rows, logit_rows, batch in self._packer.pack(token_ids):
                probabilities[rows] = softmax(self.engine.logits(batch)[logit_rows] / self.spec.temperature)
        tokens = np.array([len(ids) for ids in token_ids], dtype=np.int64)
        uncertain = probabilities.max(axis=1, initial=0) < self.bundle.uncertain_below
        return Predictions(probabilities.argmax(axis=1), probabilities, truncated, uncertain, tokens)
