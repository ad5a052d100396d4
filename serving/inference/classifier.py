"""The one way to get a prediction: used by evaluate, the server, the tests and the benchmarks. No torch, no web framework."""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from serving.inference.bundle import Bundle, EngineSpec, read_bundle
from serving.inference.engines import Engine, import_runtime, start_engine
from serving.inference.errors import BundleBroken
from serving.inference.text import clean_text, require_characters
from serving.inference.tokens import TextEncoder

log = logging.getLogger("classifier")

# Every shape of a batch costs an engine memory for good and time at first, so shapes are few: lengths in four steps an octave, numbers
# of texts in powers of two.
BATCH_TOKENS = 512  # padded tokens a batch: larger ones were not faster
BATCH_SIZES = tuple(2**power for power in range(10))
CALL_TOKENS = 48  # what a call of an engine costs beside its tokens, measured in tokens
Probabilities = NDArray[np.float64]  # (texts, classes), rows sum to 1


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
        self._token_ids = np.empty(max(BATCH_TOKENS, bundle.max_length), dtype=np.int64)
        self._attention_mask = np.empty_like(self._token_ids)
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
        cleaned = [clean_text(require_characters(text)) for text in texts]
        probabilities = np.zeros((len(texts), len(self.bundle.class_names)))
        with self._turn:
            token_ids, truncated = self._encoder.encode(cleaned)
            tokens = [len(ids) for ids in token_ids]
            for rows in self._batches(tokens):
                probabilities[rows] = self._probabilities([token_ids[row] for row in rows])
        uncertain = probabilities.max(axis=1, initial=0) < self.bundle.uncertain_below
        return Predictions(probabilities.argmax(axis=1), probabilities, truncated, uncertain, np.array(tokens, dtype=np.int64))

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Yield row numbers, long texts first, split so that padding and calls together cost the least."""
        order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
        rest_cost, sizes = [0] * (len(order) + 1), [1] * len(order)
        for start in reversed(range(len(order))):
            length = self._padded(lengths[order[start]])
            rest_cost[start], sizes[start] = min(
                (CALL_TOKENS + size * length + rest_cost[min(start + size, len(order))], size)
                for size in BATCH_SIZES
                if size == 1 or size * length <= BATCH_TOKENS
            )
        start = 0
        while start < len(order):
            yield order[start : start + sizes[start]]
            start += sizes[start]

    def _padded(self, length: int) -> int:
        """Return the length that a text is padded to."""
        step = 1 << max(0, (max(1, length) - 1).bit_length() - 3)
        return min(-(-max(1, length) // step) * step, self.bundle.max_length)

    def _probabilities(self, token_ids: list[NDArray[np.int64]]) -> Probabilities:
        texts = next(size for size in BATCH_SIZES if size >= len(token_ids))
        length = self._padded(max(map(len, token_ids)))
        ids = self._token_ids[: texts * length].reshape(texts, length)
        mask = self._attention_mask[: texts * length].reshape(texts, length)
        ids.fill(self.bundle.pad_token_id)
        mask.fill(0)
        mask[len(token_ids) :, 0] = 1  # rows that fill up: an engine may make no number of a row without a token
        for row, text in enumerate(token_ids):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        return softmax(self._engine.logits(ids, mask)[: len(token_ids)] / self.spec.temperature)


def softmax(logits: NDArray[np.floating]) -> Probabilities:
    """Turn logits (texts, classes) into probabilities."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: Probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities
