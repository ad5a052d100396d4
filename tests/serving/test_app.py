"""The HTTP contract, asked of a real uvicorn process on the loopback."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx2 as httpx
import pytest
from starlette.types import Receive

from serving.inference.bundle import read_bundle
from serving.inference.classifier import Classifier
from serving.monitoring.metrics import Monitor
from serving.settings import settings_of_environment
from serving.web.access import Access
from tests.conftest import ROOT, run_command

SECRET = "xyzzysecret"  # stands in every refused text, and in no answer
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": "multipart/form-data; boundary=B"}


def uvicorn(port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", "serving.app:app", "--port", str(port), "--log-level", "warning"]


@contextmanager
def server(
    bundle: Path, output: BinaryIO | None = None, command: Callable[[int], list[str]] = uvicorn, **environment: str
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """Start a server on a free port, wait until it answers, give a client; end it with SIGTERM. output: for all that it prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        command(port),
        cwd=ROOT,
        env={**os.environ, "SENTIMENT_MODEL": str(bundle), "SENTIMENT_THREADS": "1", **environment},
        stdout=output,
        stderr=output,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            for _ in range(600):
                assert process.poll() is None, "the server ended while it started"
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield client, process
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def client(tiny_bundle: Path) -> Iterator[httpx.Client]:
    with server(tiny_bundle) as (client, _):
        yield client


def part(text: bytes, disposition: bytes = b'form-data; name="text"') -> bytes:
    return b"--B\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + text + b"\r\n--B--\r\n"


@pytest.mark.parametrize("text", ["the film was very good", "정말 좋아요 😍 & 100 % + 최고=최고", "<b>bad</b>\r\nfilm", "good " * 3999])
def test_every_way_to_send_a_text_gets_the_classifiers_own_answer(client: httpx.Client, tiny_bundle: Path, text: str) -> None:
    expected = Classifier.load(tiny_bundle, threads=1).predict([text])
    ways: list[Callable[[], httpx.Response]] = [
        lambda: client.post("/predict", json={"text": text}),
        lambda: client.post("/predict", data={"text": text}),
        lambda: client.post("/predict", content=part(text.encode()), headers=MULTIPART),
        lambda: client.post("/predict", json={"text": text}, headers={"content-type": "Application/JSON; charset=utf-8"}),
        lambda: client.post("/predict", json={"other": 1, "text": text}),
    ]
    for way in ways:
        answer = way()
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"label": f"LABEL_{expected.label_ids[0]}", "score": pytest.approx(expected.scores[0], abs=1e-5)}


def test_form_may_hold_hangul_unescaped_as_curl_sends_it(client: httpx.Client) -> None:
    escaped = client.post("/predict", data={"text": "영화 최고"}).json()
    assert client.post("/predict", content="text=영화 최고".encode(), headers=FORM).json() == escaped


def test_detail_tells_all_that_is_known_of_an_answer(client: httpx.Client, tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle, threads=1)
    text = "the film was very good " * 20
    expected = classifier.predict([text])
    answer = client.post("/predict?detail=true", json={"text": text}, headers={"x-request-id": "abc-1"}).json()
    label_id = int(expected.label_ids[0])
    assert answer == {
        "label": f"LABEL_{label_id}",
        "score": pytest.approx(expected.scores[0], abs=1e-5),
        "class_name": ("negative", "positive")[label_id],
        "scores": pytest.approx(dict(zip(("negative", "positive"), expected.probabilities[0].tolist(), strict=True)), abs=1e-5),
        "uncertain": bool(expected.uncertain[0]),
        "truncated": True,
        "request_id": "abc-1",
        "model": classifier.bundle.sha256,
    }
    assert not client.post("/predict?detail=true", json={"text": "good"}).json()["truncated"]
    assert_refused(client.post("/predict?detail=perhaps", json={"text": "good"}), 422)


def test_batch_answers_in_order_and_reports_a_bad_text_at_its_place(client: httpx.Client) -> None:
    good, bad = (client.post("/predict", json={"text": text}).json() for text in ("the film was very good", "the film was bad"))
    texts = ["the film was very good", "", 7, "the film was bad", None, "a" * 20_001, ["good"], "the film was very good"]
    answer = client.post("/predict/batch", json={"texts": texts})
    assert answer.status_code == 200
    assert answer.json()["results"] == [
        {key: pytest.approx(value, abs=1e-5) if key == "score" else value for key, value in good.items()},
        {"error": "text is empty"},
        {"error": "text is no string"},
        {key: pytest.approx(value, abs=1e-5) if key == "score" else value for key, value in bad.items()},
        {"error": "text is no string"},
        {"error": "text has more than 20,000 characters"},
        {"error": "text is no string"},
        {key: pytest.approx(value, abs=1e-5) if key == "score" else value for key, value in good.items()},
    ]


def test_batch_of_any_size_up_to_the_limit_is_answered(client: httpx.Client) -> None:
    texts = [f"the film was {'good' if number % 3 else 'bad'} {number}" for number in range(256)]
    alone = [client.post("/predict", json={"text": text}).json()["label"] for text in texts[:30]]
    results = client.post("/predict/batch", json={"texts": texts}).json()["results"]
    assert [result["label"] for result in results[:30]] == alone
    assert len(results) == 256
    assert client.post("/predict/batch", json={"texts": []}).json() == {"results": []}
    assert set(client.post("/predict/batch?detail=true", json={"texts": ["good"]}).json()["results"][0]) >= {"class_name", "scores"}
    assert_refused(client.post("/predict/batch", json={"texts": ["good"] * 257}), 422, "256")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (JSON, b'{"texts": "%s"}' % SECRET.encode(), 422),
        (JSON, b'{"text": ["%s"]}' % SECRET.encode(), 422),
        (JSON, b'["%s"]' % SECRET.encode(), 422),
        (JSON, b'{"texts": ["%s"' % SECRET.encode(), 422),
        (JSON, b'{"texts": ' + b"[" * 100_000, 422),
        (JSON, b'{"texts": ["\xff%s"]}' % SECRET.encode(), 422),
        (FORM, b"texts=%s" % SECRET.encode(), 415),
        (JSON, b" " * (2 * 1024 * 1024 + 1), 413),
    ],
    ids=["no list", "other field", "list alone", "broken", "deep", "not UTF-8", "form", "too large"],
)
def test_bad_batch_gets_a_sentence_and_no_echo(client: httpx.Client, headers: dict[str, str], body: bytes, status: int) -> None:
    assert_refused(client.post("/predict/batch", content=body, headers=headers), status)


def test_surrogate_in_a_batch_is_reported_at_its_place(client: httpx.Client) -> None:
    answer = client.post("/predict/batch", content=b'{"texts": ["%s \\ud800", "good"]}' % SECRET.encode(), headers=JSON)
    assert answer.status_code == 200
    assert "surrogate" in answer.json()["results"][0]["error"]
    assert "label" in answer.json()["results"][1]
    assert SECRET not in answer.text


def test_model_names_the_bundle_its_engine_and_what_it_was_made_of(client: httpx.Client, tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    answer = client.get("/model").json()
    assert answer["sha256"] == bundle.sha256
    assert answer["engine"] == answer["evaluated_engine"] == bundle.engines[0].name
    assert answer["lineage"] == bundle.lineage
    assert answer["classes"] == ["negative", "positive"]
    assert client.get("/ready").json() == {"status": "ready"}


def series(client: httpx.Client) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_count_requests_labels_and_batches(tiny_bundle: Path) -> None:
    with server(tiny_bundle) as (client, _):
        label = client.post("/predict", json={"text": "the film was very good"}).json()["label"]
        client.post("/predict", json={"text": ""})
        client.get(f"/{SECRET}")
        client.post("/predict/batch", json={"texts": ["good " * 500, "bad"]})
        counted = series(client)
        text = client.get("/metrics").text
    assert counted['sentiment_requests_total{route="/predict",status="200"}'] == 1
    assert counted['sentiment_requests_total{route="/predict",status="422"}'] == 1
    assert counted['sentiment_requests_total{route="unmatched",status="404"}'] == 1
    assert counted['sentiment_request_seconds_count{route="/predict"}'] == 2
    assert counted[f'sentiment_labels_total{{label="{label}"}}'] >= 1
    assert sum(value for name, value in counted.items() if name.startswith("sentiment_labels_total")) == 3
    assert counted["sentiment_score_count"] == 3
    assert counted["sentiment_truncated_texts_total"] == 1
    assert counted["sentiment_batch_texts_sum"] == 3
    assert counted["sentiment_batch_tokens_sum"] > 32
    assert counted["sentiment_queue_texts"] == 0
    assert [value for name, value in counted.items() if name.startswith("sentiment_model_info")] == [1]
    assert SECRET not in text


def test_every_answer_has_an_id_and_a_line_in_the_log_without_the_text(tiny_bundle: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log, server(tiny_bundle, output=log) as (client, _):
        answer = client.post("/predict", json={"text": SECRET}, headers={"x-request-id": "mine.1"})
        assert answer.headers["x-request-id"] == "mine.1"
        strange = client.get(f"/nowhere?text={SECRET}", headers={"x-request-id": 'x" y'})
        assert re.fullmatch("[0-9a-f]{32}", strange.headers["x-request-id"])
    content = (tmp_path / "log").read_text("utf-8")
    lines = [json.loads(line) for line in content.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["request_id"] == "mine.1"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/predict", 200)
    assert line["milliseconds"] > 0
    assert [line["route"] for line in lines if line["status"] == 404] == ["unmatched"]
    assert SECRET not in content


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probe_by_head_gets_the_status_alone(client: httpx.Client, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(("path", "body"), [("/predict", '{"text": "good"}'), ("/predict/batch", '{"texts": ["good"]}')])
@pytest.mark.parametrize(("encoding", "status"), [("utf-8-sig", 200), ("utf-16", 422)])
def test_json_may_begin_with_a_byte_order_mark_but_is_utf_8(client: httpx.Client, path: str, body: str, encoding: str, status: int) -> None:
    answer = client.post(path, content=body.encode(encoding), headers={"Content-Type": "application/json"})
    assert answer.status_code == status


def test_page_has_security_headers_and_json_has_none(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "content-security-policy" not in client.get("/health").headers


def test_full_queue_is_503_at_once_and_no_accepted_request_is_lost(tiny_bundle: Path) -> None:
    with server(tiny_bundle, SENTIMENT_MAX_WAITING="100") as (client, _):
        address = str(client.base_url)

        def ask(number: int) -> tuple[int, str | None, int]:
            with httpx.Client(base_url=address, timeout=60, trust_env=False) as own:
                answer = own.post("/predict/batch", json={"texts": [f"good film {number} {row}" for row in range(60)]})
                return answer.status_code, answer.headers.get("retry-after"), len(answer.json().get("results", []))

        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(ask, range(96)))
        assert {status for status, _, _ in answers} == {200, 503}
        assert all(count == 60 for status, _, count in answers if status == 200)
        assert all(retry == "1" for status, retry, _ in answers if status == 503)
        assert client.post("/predict", json={"text": "good"}).status_code == 200
        assert series(client)["sentiment_queue_texts"] == 0


def test_sigterm_under_load_answers_every_request_that_was_received(tiny_bundle: Path, tmp_path: Path) -> None:
    answered: list[int] = []

    def ask(address: str) -> None:
        closed = contextlib.suppress(httpx.TransportError)  # the server ends the connection, and takes no new one
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as own, closed:
            while True:
                answered.append(own.post("/predict/batch", json={"texts": ["good film"] * 50}).status_code)

    with (tmp_path / "log").open("wb") as log, server(tiny_bundle, output=log) as (client, process):
        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(ask, str(client.base_url))
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, 143, -signal.SIGTERM)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text("utf-8").splitlines() if line.startswith("{")]
    received = [line["status"] for line in lines if line["route"] == "/predict/batch"]
    assert set(received) == {200}
    assert received == answered


def test_health_says_that_the_process_is_alive(client: httpx.Client) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_documents_describe_the_body_in_all_its_forms(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 200
    post = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert set(post["responses"]) >= {"200", "413", "415", "422"}
    for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data"):
        schema = post["requestBody"]["content"][kind]["schema"]
        assert schema["properties"]["text"]["type"] == "string"
        assert schema["required"] == ["text"]


def assert_refused(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert isinstance(answer.json()["detail"], str)
    assert SECRET not in answer.text
    for word in words:
        assert word in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/xml", "application/jsonx"])
def test_other_content_types_are_refused_with_those_that_are_taken(client: httpx.Client, kind: str) -> None:
    answer = client.post("/predict", content=f'{{"text": "{SECRET}"}}', headers={"content-type": kind} if kind else {})
    assert_refused(answer, 415, "application/json", "application/x-www-form-urlencoded", "multipart/form-data")


secret = SECRET.encode()
REFUSED = {
    "empty text": (JSON, b'{"text": ""}', "empty"),
    "blank text": (JSON, '{"text": " \\n\\t\u3000"}'.encode(), "empty"),
    "text of which cleaning leaves nothing": (JSON, '{"text": "\u200b<br />&nbsp;"}'.encode(), "empty"),
    "empty body": (JSON, b"", ""),
    "empty form": (FORM, b"", "text"),
    "empty text in a form": (FORM, b"text=", "empty"),
    "empty text in a multipart form": (MULTIPART, part(b""), "empty"),
    "missing text": (JSON, b'{"txt": "%s"}' % secret, "text"),
    "missing text in a form": (FORM, b"txt=%s" % secret, "text"),
    "missing text in a multipart form": (MULTIPART, part(secret, b'form-data; name="txt"'), "text"),
    "number": (JSON, b'{"text": 5, "more": "%s"}' % secret, "text"),
    "null": (JSON, b'{"text": null}', "text"),
    "list": (JSON, b'{"text": ["%s"]}' % secret, "text"),
    "object": (JSON, b'{"text": {"%s": 1}}' % secret, "text"),
    "not a number": (JSON, b'{"text": NaN, "more": "%s"}' % secret, ""),
    "text alone": (JSON, b'"%s"' % secret, ""),
    "list of texts": (JSON, b'["%s"]' % secret, ""),
    "broken JSON": (JSON, b'{"text": "%s' % secret, "JSON"),
    "escape of a surrogate": (JSON, b'{"text": "%s \\ud800"}' % secret, ""),
    "escape of NUL": (JSON, b'{"text": "%s \\u0000"}' % secret, "NUL"),
    "NUL in a form": (FORM, b"text=%s%%00" % secret, "NUL"),
    "NUL in a multipart form": (MULTIPART, part(secret + b"\0"), "NUL"),
    "deep JSON": (JSON, b'{"text": ' + b"[" * 100_000 + b'"%s"' % secret, ""),
    "deep JSON beside the text": (JSON, b'{"text": "%s", "x": ' % secret + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    "JSON that is not UTF-8": (JSON, b'{"text": "%s \xff"}' % secret, ""),
    "JSON in CP949": (JSON, f'{{"text": "{SECRET} 최고"}}'.encode("cp949"), ""),
    "form that is not UTF-8": (FORM, b"text=%s%%FF" % secret, "UTF-8"),
    "multipart form that is not UTF-8": (MULTIPART, part(secret + b" \xff"), "UTF-8"),
    "file in the place of the text": (MULTIPART, part(secret, b'form-data; name="text"; filename="a.txt"'), ""),
    "multipart form without a boundary": ({"content-type": "multipart/form-data"}, part(secret), ""),
    "multipart form that is none": (MULTIPART, secret, ""),
    "a thousand fields": (FORM, b"&".join(b"f%d=%s" % (number, secret) for number in range(1000)), ""),
    "20,001 characters": (JSON, '{{"text": "{} {}"}}'.format(SECRET, "좋" * 19_989).encode(), "20,000"),
    "20,001 characters in a form": (FORM, b"text=%s+" % secret + b"a" * 19_989, "20,000"),
    "a million characters in a form": (FORM, b"text=%s+" % secret + b"a" * 1_200_000, "20,000"),
    "a million characters in a multipart form": (MULTIPART, part(secret + b"a" * 1_200_000), ""),
}


@pytest.mark.parametrize(("headers", "body", "word"), REFUSED.values(), ids=REFUSED)
def test_bad_input_gets_422_a_sentence_and_no_echo(client: httpx.Client, headers: dict[str, str], body: bytes, word: str) -> None:
    assert_refused(client.post("/predict", content=body, headers=headers), 422, word)
    assert client.post("/predict", json={"text": "good"}).status_code == 200


def test_longest_text_is_answered(client: httpx.Client) -> None:
    assert client.post("/predict", json={"text": "좋" * 20_000}).status_code == 200


@pytest.mark.parametrize("headers", [JSON, FORM, MULTIPART], ids=lambda headers: headers["content-type"])
def test_body_over_two_megabytes_is_refused_with_and_without_a_length(client: httpx.Client, headers: dict[str, str]) -> None:
    size = 2 * 1024 * 1024 + 1
    body = (b'{"text": "%s' % secret if headers is JSON else b"text=%s" % secret if headers is FORM else part(secret)).ljust(size, b" ")
    assert_refused(client.post("/predict", content=body, headers=headers), 413)
    assert_refused(client.post("/predict", content=iter([body[:1000], body[1000:]]), headers=headers), 413)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/predict", 405), ("GET", "/nowhere", 404), ("POST", "/health", 405)])
def test_wrong_route_gets_a_sentence_too(client: httpx.Client, method: str, path: str, status: int) -> None:
    assert_refused(client.request(method, path), status)


def test_pages_of_other_origins_are_not_allowed_by_default(client: httpx.Client) -> None:
    for answer in (
        client.post("/predict", json={"text": "good"}, headers={"origin": "http://127.0.0.1:1"}),
        client.options("/predict", headers={"origin": "http://127.0.0.1:1", "access-control-request-method": "POST"}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_pages_of_a_configured_origin_are_allowed_and_sigterm_ends_the_server_well(tiny_bundle: Path) -> None:
    with server(tiny_bundle, SENTIMENT_CORS_ORIGINS='["http://127.0.0.1:1"]') as (client, process):
        for origin, allowed in (("http://127.0.0.1:1", "http://127.0.0.1:1"), ("http://127.0.0.1:2", None)):
            asked = client.options("/predict", headers={"origin": origin, "access-control-request-method": "POST"})
            answered = client.post("/predict", json={"text": "good"}, headers={"origin": origin})
            refused = client.post("/predict", json={}, headers={"origin": origin})
            assert [answer.headers.get("access-control-allow-origin") for answer in (asked, answered, refused)] == [allowed] * 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, 143, -signal.SIGTERM)


@pytest.mark.parametrize(("model", "sentence"), [("nowhere", "holds no model bundle"), ("serving", "is not the file that was evaluated")])
def test_start_with_a_bundle_that_cannot_be_served_fails_with_the_sentence(copied_bundle: Path, model: str, sentence: str) -> None:
    (copied_bundle / "model.onnx").write_bytes(b"")
    done = run_command(sys.executable, "-m", "uvicorn", "serving.app:app", "--port", "0", SENTIMENT_MODEL=str(copied_bundle.parent / model))
    assert done.returncode not in (0, None)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENTIMENT_THREADS", "abc"),
        ("SENTIMENT_THREADS", "-1"),
        ("SENTIMENT_THREADS", "99999999999"),
        ("SENTIMENT_CORS_ORIGINS", "http://x"),
        ("SENTIMENT_CORS_ORIGINS", '["http://x/"]'),
        ("PROMETHEUS_MULTIPROC_DIR", "/dev/null"),
    ],
)
def test_setting_without_a_usable_value_ends_the_start_with_a_sentence(name: str, value: str) -> None:
    done = run_command(sys.executable, "-m", "uvicorn", "serving.app:app", "--port", "0", **{name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(f"ERROR: {name} is ")
    assert "Traceback" not in done.stderr


def test_state_that_can_be_no_folder_ends_the_start_with_a_sentence(tiny_bundle: Path) -> None:
    settings = {"SENTIMENT_MODEL": str(tiny_bundle), "SENTIMENT_STATE": "/dev/null/state"}
    done = run_command(sys.executable, "-m", "uvicorn", "serving.app:app", "--port", "0", **settings)
    assert done.returncode not in (0, None)
    assert "SENTIMENT_STATE is /dev/null/state, which cannot be a folder here" in done.stderr
    assert "Traceback" not in done.stderr


def test_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_STATE", "")
    monkeypatch.setenv("SENTIMENT_THREADS", "")
    assert (settings_of_environment().state, settings_of_environment().threads) == (None, None)


def test_failure_of_the_server_has_an_id_and_a_sentence() -> None:
    async def failing(*_: object) -> None:
        raise ZeroDivisionError

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-id", b"mine")]}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Access(failing, Monitor())(scope, cast(Receive, None), send))
    assert sent[0]["status"] == 500
    assert (b"x-request-id", b"mine") in sent[0]["headers"]
    assert json.loads(sent[1]["body"]) == {"detail": "the server failed at this request: its log has more"}


def test_server_needs_neither_torch_nor_the_training_side() -> None:
    done = run_command(sys.executable, "-c", "import sys, serving.app; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert not roots & {"torch", "transformers", "mlflow", "pandas", "sklearn", "matplotlib", "stages"}
