"""Fixtures that several test modules of the server use: running servers, and the command that scores files."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

pytest.register_assert_rewrite("tests.serving.http")  # before the import below

from serving.inference.classifier import Classifier  # noqa: E402
from tests.running import run_command  # noqa: E402
from tests.serving.http import ADMIN_KEYS, AS_ADMIN, server  # noqa: E402
from tests.serving.scoring import ERRORS, TEXTS  # noqa: E402


@pytest.fixture
def score(tiny_bundle: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command on the tiny bundle."""

    def run(*flags: str | Path) -> subprocess.CompletedProcess[str]:
        return run_command(sys.executable, "-m", "serving.score", "--model", tiny_bundle, "--threads", "1", *flags)

    return run


@pytest.fixture(scope="session")
def answers(tiny_bundle: Path) -> list[dict[str, Any]]:
    """The classifier's own answers to TEXTS, as rows of the output."""
    good = [text for row, text in enumerate(TEXTS) if row not in ERRORS]
    predictions = Classifier.load(tiny_bundle, threads=1).predict(good)
    found = iter(zip(predictions.label_ids, predictions.scores, strict=True))
    return [
        {"label": None, "score": None, "error": ERRORS[row]}
        if row in ERRORS
        else {"label": f"LABEL_{(answer := next(found))[0]}", "score": pytest.approx(answer[1], abs=1e-5), "error": None}
        for row in range(len(TEXTS))
    ]


@pytest.fixture(scope="session")
def client(tiny_bundle: Path) -> Iterator[httpx.Client]:
    """A client of a server with default settings. A test must not change this server."""
    with server(tiny_bundle) as (client, _):
        yield client


@pytest.fixture(scope="module")
def hasty_server(tiny_bundle: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """A server that waits two seconds for headers and bodies and needs a key. Its client has the admin key."""
    with server(tiny_bundle, SENTIMENT_REQUEST_TIMEOUT="2", SENTIMENT_API_KEYS=ADMIN_KEYS) as (client, process):
        client.headers.update(AS_ADMIN)
        yield client, psutil.Process(process.pid)


@pytest.fixture
def admin(tiny_bundle: Path) -> Iterator[httpx.Client]:
    """A client with the admin key, of a server that has just started with the tiny bundle."""
    with server(tiny_bundle, SENTIMENT_API_KEYS=ADMIN_KEYS) as (client, _):
        client.headers.update(AS_ADMIN)
        yield client
