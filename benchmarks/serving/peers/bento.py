"""BentoML with adaptive batching."""

from typing import Any

import bentoml  # type: ignore[import-not-found]

from benchmarks.serving.peers.engine import start


@bentoml.service
class Sentiment:
    def __init__(self) -> None:
        self.classify = start()

    @bentoml.api(batchable=True, max_batch_size=32)  # type: ignore[untyped-decorator]
    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.classify(texts)
