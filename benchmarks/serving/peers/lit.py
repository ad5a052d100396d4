"""LitServe with batching: `python -m benchmarks.serving.peers.lit <port>`."""

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]

from benchmarks.serving.peers.engine import start


class Sentiment(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classify = start()

    def decode_request(self, request: dict[str, str]) -> str:
        return request["input"]

    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.classify(texts)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Sentiment(max_batch_size=32, batch_timeout=0)
    litserve.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
