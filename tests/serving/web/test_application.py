"""How the application starts and ends, and which pages of other origins may call it."""

import contextlib
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.running import run_command
from tests.serving.http import TERMINATED, log_lines, own_client, server


@pytest.mark.parametrize(("model", "sentence"), [("nowhere", "holds no model bundle"), ("serving", "is not the file that was evaluated")])
def test_start_with_a_bad_bundle_fails_with_an_error_message(copied_bundle: Path, model: str, sentence: str) -> None:
    (copied_bundle / "model.onnx").write_bytes(b"")
    done = run_command(sys.executable, "-m", "uvicorn", "serving.app:app", "--port", "0", SENTIMENT_MODEL=str(copied_bundle.parent / model))
    assert done.returncode not in (0, None)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_start_without_a_key_warns(tiny_bundle: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log, server(tiny_bundle, output=log) as (client, _):
        assert client.post("/predict", json={"text": "good"}).status_code == 200
    assert "NO API KEY IS SET" in (tmp_path / "log").read_text("utf-8")


def test_second_start_uses_the_models_that_the_engine_has_compiled_and_answers_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="only OpenVINO keeps compiled models for a CPU")
    texts = ["the film was very good", "the food was bad", "staff and phone", "awful " * 50]
    answers, kept = [], []
    for _ in range(2):
        with server(tiny_bundle, SENTIMENT_CACHE=str(tmp_path / "cache")) as (client, _):
            answers.append(client.post("/predict/batch", json={"texts": texts}).json())
        kept.append({file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*") if file.is_file()})
    assert kept[0]
    assert kept[1] == kept[0]
    assert answers[1] == answers[0]


def test_sigterm_under_load_answers_every_request_that_was_received(tiny_bundle: Path, tmp_path: Path) -> None:
    answered: list[int] = []

    def ask(client: httpx.Client) -> None:
        closed = contextlib.suppress(httpx.TransportError)  # the server ends the connection, and accepts no new one
        with own_client(client) as own, closed:
            while True:
                answered.append(own.post("/predict/batch", json={"texts": ["good film"] * 50}).status_code)

    with (tmp_path / "log").open("wb") as log, server(tiny_bundle, output=log) as (client, process):
        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(ask, client)
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) in TERMINATED
    received = [line["status"] for line in log_lines(tmp_path / "log") if line["route"] == "/predict/batch"]
    assert set(received) == {200}
    assert received == answered


def test_pages_of_other_origins_are_not_allowed_by_default(client: httpx.Client) -> None:
    for answer in (
        client.post("/predict", json={"text": "good"}, headers={"origin": "http://127.0.0.1:1"}),
        client.options("/predict", headers={"origin": "http://127.0.0.1:1", "access-control-request-method": "POST"}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_pages_of_a_configured_origin_are_allowed_and_sigterm_ends_the_server(tiny_bundle: Path) -> None:
    with server(tiny_bundle, SENTIMENT_CORS_ORIGINS='["http://127.0.0.1:1"]') as (client, process):
        for origin, allowed in (("http://127.0.0.1:1", "http://127.0.0.1:1"), ("http://127.0.0.1:2", None)):
            preflight = client.options("/predict", headers={"origin": origin, "access-control-request-method": "POST"})
            answered = client.post("/predict", json={"text": "good"}, headers={"origin": origin})
            refused = client.post("/predict", json={}, headers={"origin": origin})
            assert [answer.headers.get("access-control-allow-origin") for answer in (preflight, answered, refused)] == [allowed] * 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in TERMINATED
