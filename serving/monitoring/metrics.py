"""Metrics for Prometheus: requests, the queue, batches, answers and the bundle in use come in; a page of series goes out, never a text.

If PROMETHEUS_MULTIPROC_DIR is set, every worker shows the sums of all workers.
"""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from serving.inference.classifier import Predictions
from serving.inference.labels import label_name
from serving.processes import is_alive

# Upper bounds of the histograms' buckets.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
SCORES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)


class Monitor:
    """The series of one server process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter("sentiment_requests", "Requests by route and status", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "sentiment_request_seconds", "Seconds to the end of the answer", ["route"], buckets=SECONDS, registry=registry
        )
        self._queue_texts = Gauge("sentiment_queue_texts", "Texts that wait or run", registry=registry, multiprocess_mode="livesum")
        self._batch_texts = Histogram("sentiment_batch_texts", "Texts per batch", buckets=TEXTS, registry=registry)
        self._batch_tokens = Histogram("sentiment_batch_tokens", "Tokens per batch", buckets=TOKENS, registry=registry)
        self._truncated = Counter("sentiment_truncated_texts", "Texts longer than the model reads", registry=registry)
        self._uncertain = Counter("sentiment_uncertain_texts", "Answers with a score below the bundle's threshold", registry=registry)
        self._labels = Counter("sentiment_labels", "Answers by label", ["label"], registry=registry)
        self._scores = Histogram("sentiment_score", "Scores of the answers", buckets=SCORES, registry=registry)
        self._model = Gauge(
            "sentiment_model_info",
            "Workers with this bundle and engine",
            ["bundle", "engine"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._bundle_in_use: tuple[str, str] | None = None

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_batch(self, predictions: Predictions) -> None:
        """Count a batch that was classified."""
        self._batch_texts.observe(len(predictions.label_ids))
        self._batch_tokens.observe(int(predictions.tokens.sum()))
        self._truncated.inc(int(predictions.truncated.sum()))
        self._uncertain.inc(int(predictions.uncertain.sum()))
        for label_id, score in zip(predictions.label_ids.tolist(), predictions.scores.tolist(), strict=True):
            self._labels.labels(label_name(label_id)).inc()
            self._scores.observe(score)

    def set_bundle(self, sha256: str, engine: str) -> None:
        """Show which bundle and engine this process uses from now on."""
        if self._bundle_in_use:
            self._model.labels(*self._bundle_in_use).set(0)
        self._bundle_in_use = sha256, engine
        self._model.labels(*self._bundle_in_use).set(1)

    def set_queue_length(self, texts: int) -> None:
        """Show how many texts wait or run."""
        self._queue_texts.set(texts)

    def page(self) -> bytes:
        """Return all series in the text format of Prometheus."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db"):
            if not is_alive(int(file.stem.rpartition("_")[2])):
                file.unlink(missing_ok=True)  # its worker was killed
        all_workers = CollectorRegistry()
        MultiProcessCollector(all_workers)  # type: ignore[no-untyped-call]
        return generate_latest(all_workers)

    def close(self) -> None:
        """Remove this process from the gauges of living workers."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]
