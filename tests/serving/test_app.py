"""The HTTP contract, asked of a real uvicorn process on the loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from serving.inference.classifier import Classifier
from tests.conftest import ROOT, run_command

SECRET = "xyzzysecret"  # stands in every refused text, and in no answer
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": "multipart/form-data; boundary=B"}


@contextmanager
def server(bundle: Path, **environment: str) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """Start uvicorn on a free port, wait until it answers, give a client; end it with SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "serving.app:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "SENTIMENT_MODEL": str(bundle), "SENTIMENT_THREADS": "1", **environment}
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


def test_server_needs_neither_torch_nor_the_training_side() -> None:
    done = run_command(sys.executable, "-c", "import sys, serving.app; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert not roots & {"torch", "transformers", "mlflow", "pandas", "sklearn", "matplotlib", "stages"}
