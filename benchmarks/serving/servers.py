"""The servers of the benchmark: how to start each, what to post, and how to read the answer."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
PEERS = "benchmarks.serving.peers"


@dataclass(frozen=True)
class Server:
    """engine: `torch` or `ours`. command: with {port} and {model}, the folder where `prepare` saves the model.

    body: makes the body of a request from a text. read: takes `{"label", "score"}` from the parsed answer.
    """

    name: str
    engine: str
    command: tuple[str, ...]
    path: str = "/predict"
    content_type: str = FORM
    body: Callable[[str], str] = lambda text: urlencode({"text": text})
    read: Callable[[Any], Any] = lambda answer: answer
    prepare: tuple[str, ...] = ()


def uvicorn(app: str) -> tuple[str, ...]:
    return ("uvicorn", app, "--host", "127.0.0.1", "--port", "{port}")


def json_of(form: Callable[[str], dict[str, Any]]) -> Callable[[str], str]:
    return lambda text: json.dumps(form(text))


def frameworks(engine: str) -> list[Server]:
    """Return the peers with an engine. Each gets requests in the form that its documentation shows."""
    bentoml = ("bentoml", "serve", f"{PEERS}.bento:Sentiment", "--host", "127.0.0.1", "--port", "{port}")
    litserve = ("python", "-m", f"{PEERS}.lit", "{port}")
    mlflow = ("mlflow", "models", "serve", "-m", "{model}", "--host", "127.0.0.1", "--port", "{port}", "--env-manager", "local")
    return [
        Server("plain recipe", engine, uvicorn(f"{PEERS}.plain:app")),
        Server(
            "BentoML", engine, bentoml, content_type=JSON, body=json_of(lambda text: {"texts": [text]}), read=lambda answer: answer[0]
        ),
        Server("LitServe", engine, litserve, content_type=JSON, body=json_of(lambda text: {"input": text})),
        Server(
            "mlflow models serve", engine, mlflow, "/invocations", JSON, json_of(lambda text: {"inputs": [text]}),
            lambda answer: answer["predictions"][0], prepare=("python", "-m", f"{PEERS}.mlflow_model", "{model}"),
        ),
    ]  # fmt: skip


OURS = Server("Sentiment-Ops", "ours", (sys.executable, "-m", *uvicorn("serving.app:app")))
EMPTY = Server("empty endpoint", "none", (sys.executable, "-m", *uvicorn(f"{PEERS}.empty:app")))
PLAIN, *_ = BY_TORCH = frameworks("torch")
SERVERS = [*BY_TORCH, *frameworks("ours"), OURS, EMPTY]
