"""`GET /health`, `/ready`, `/model`: what they answer about the process and its bundle. `/metrics` is tested beside `monitoring`."""

from pathlib import Path

import httpx2 as httpx
import pytest

from serving.inference.bundle import read_bundle


def test_health_answers_as_long_as_the_process_is_alive(client: httpx.Client) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_answers_when_the_bundle_is_loaded(client: httpx.Client) -> None:
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probe_with_head_gets_the_status_without_a_body(client: httpx.Client, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_model_names_the_bundle_its_engine_and_its_lineage(client: httpx.Client, tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    answer = client.get("/model").json()
    assert answer["sha256"] == bundle.sha256
    assert answer["engine"] == answer["evaluated_engine"] == bundle.engines[0].name
    assert answer["lineage"] == bundle.lineage
    assert answer["classes"] == ["negative", "positive"]
