"""What clients of all kinds cannot do to the server: generated and hostile requests, overload, exchange of the bundle, all at once.

RELIABILITY_TIMES multiplies the numbers: `make bench` runs ten times as much, with other generated requests at each run.
"""

import contextlib
import gzip
import http.client
import json
import os
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.inference.classifier import Classifier
from serving.keys import digest
from serving.web.schemas import Reload
from tests.conftest import ROOT, VOCABULARY
from tests.serving.test_app import FORM, JSON, SECRET, assert_refused, series, server

TIMES = int(os.environ.get("RELIABILITY_TIMES", "1"))
MIB = 1024 * 1024
KEY = {"x-api-key": "the admin's key"}
KEYS = json.dumps({digest(KEY["x-api-key"]): "admin"})
NDJSON = {"content-type": "application/x-ndjson"}
EVERY_SHAPE = [
    "good",
    "the film was very good " * 2,
    "bad " * 9,
    "the food was awful and the staff was poor " * 20,
]  # of one word to too long


def answers_of(client: httpx.Client, work: Callable[[httpx.Client, int], Any], *, clients: int, each: int) -> list[Any]:
    """Call work(client, number) from as many threads as there are clients, each with a connection of its own."""

    def ask(first: int) -> list[Any]:
        with httpx.Client(base_url=str(client.base_url), timeout=120, trust_env=False) as own:
            return [work(own, first + number) for number in range(each)]

    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(ask, range(0, clients * each, each)) for answer in answers]


# Generated from the OpenAPI document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
EXAMPLES = {"POST /admin/reload": (30, 300)}  # of right and of wrong requests; each right one loads a bundle


def strings_of(value: object) -> Iterator[str]:
    """Yield all strings in what was sent that are too long to stand in an error by chance."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from strings_of(key)
            yield from strings_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)
    elif isinstance(value, str) and len(value) > 7:
        yield value


def test_generated_requests_get_what_the_openapi_document_says(tiny_bundle: Path) -> None:
    asked: Counter[tuple[str, int]] = Counter()
    ours = "".join(
        file.read_text("utf-8") for folder in ("serving", "tests") for file in (ROOT / folder).rglob("*.py")
    )  # Hypothesis reads it

    def ask(case: schemathesis.Case, headers: dict[str, str]) -> None:
        if isinstance(case.body, dict) and case.body.get("folder") == Reload.model_config["json_schema_extra"]["example"]["folder"]:
            case.body["folder"] = str(tiny_bundle)  # the real bundle may be there or not
        response = case.call(session=session, headers=headers)
        asked[case.operation.label, response.status_code] += 1
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400 and not (case.path.startswith("/admin") and response.status_code == 409):
            (detail,) = response.json().values()
            assert not [text for text in strings_of([case.body, case.query]) if text in detail and text not in ours]

    def generate(operation: schemathesis.APIOperation, mode: schemathesis.GenerationMode, examples: int, headers: dict[str, str]) -> None:
        strategy = operation.as_strategy(generation_mode=mode)
        choice = settings(
            max_examples=examples * TIMES,
            deadline=None,
            database=None,
            derandomize=TIMES == 1,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        choice(given(strategy)(lambda case: ask(case, headers)))()

    with server(tiny_bundle, SENTIMENT_API_KEYS=KEYS) as (client, _), requests.Session() as session:
        schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
        operations = [result.ok() for result in schema.get_all_operations()]
        for operation in operations:
            right, wrong = EXAMPLES.get(operation.label, (280, 280))
            generate(operation, schemathesis.GenerationMode.POSITIVE, right, KEY)
            if operation.body:
                generate(operation, schemathesis.GenerationMode.NEGATIVE, wrong, KEY)
            if operation.path.startswith(("/predict", "/admin")):
                generate(operation, schemathesis.GenerationMode.POSITIVE, 20, {})
    assert sum(asked.values()) >= 2000 * TIMES, asked
    assert {label for label, _ in asked} == {operation.label for operation in operations}
    for label in ("POST /predict", "POST /predict/batch", "POST /predict/file", "POST /admin/reload"):
        assert asked[label, 200], asked
        assert asked[label, 401], asked
        assert asked[label, 422], asked


# Hostile clients


@pytest.fixture(scope="module")
def hostile(tiny_bundle: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """A server that waits 2 s for a body."""
    with server(tiny_bundle, SENTIMENT_REQUEST_TIMEOUT="2", SENTIMENT_API_KEYS=KEYS) as (client, process):
        client.headers.update(KEY)
        yield client, psutil.Process(process.pid)


ROUTES = {
    "/predict": (JSON, b'{"text": %s}'),
    "/predict/batch": (JSON, b'{"texts": [%s]}'),
    "/predict/file": (NDJSON, b'{"text": %s}\n'),
    "/admin/reload": (JSON, b'{"folder": %s}'),
}
VALUES = {
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "number": b"1e999",
    "endless number": b"9" * 100_000,
    "true": b"true",
    "object": b'{"%s": "%s"}' % (SECRET.encode(), SECRET.encode()),
    "surrogate": b'"%s \\ud800"' % SECRET.encode(),
    "NUL": b'"%s \\u0000"' % SECRET.encode(),
    "bytes": b'"%s \xff"' % SECRET.encode(),
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep and open": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_no_value_gets_a_5xx_or_an_echo(hostile: tuple[httpx.Client, psutil.Process], path: str, value: bytes) -> None:
    client, _ = hostile
    headers, body = ROUTES[path]
    answer = client.post(path, content=body % value, headers=headers)
    if path in ("/predict/batch", "/predict/file"):  # which report it at its place, or refuse the whole
        assert answer.status_code in (200, 422), answer.text
        assert '"label"' not in answer.text
    else:
        assert answer.status_code in (409, 422) if path == "/admin/reload" else answer.status_code == 422, answer.text
    if answer.status_code == 422:
        assert_refused(answer, 422)
    assert client.get("/ready").status_code == 200


@pytest.mark.parametrize(("path", "kind"), [("/predict", JSON), ("/predict", FORM), ("/predict/batch", JSON), ("/predict/file", NDJSON)])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
def test_compressed_body_is_refused_unread(
    hostile: tuple[httpx.Client, psutil.Process], path: str, kind: dict[str, str], coding: str
) -> None:
    client, _ = hostile
    bomb = gzip.compress(b" " * 100 * MIB, compresslevel=1) if coding == "gzip" else b"abc"
    assert_refused(client.post(path, content=bomb, headers={**kind, "content-encoding": coding}), 415, "Content-Encoding")


def post(
    path: str = "/predict", body: bytes = b'{"text": "good"}', kind: str = "application/json", version: str = "1.1", **more: str
) -> bytes:
    """Return the bytes of a request. more: headers in the place of the usual ones, or beside them, with _ for -."""
    headers = {"host": "a", "content-type": kind, "content-length": str(len(body)), **KEY}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n".encode() + body


def connected(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=60)


def all_of(connection: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


def stalled(client: httpx.Client, path: str, kind: str) -> list[bytes]:
    """Send some bodies byte by byte, then no more; return the answers, of which the client waits for the end of the connection."""
    connections = [connected(client) for _ in range(8)]
    for connection in connections:
        connection.sendall(post(path, b"", kind, content_length="100"))
    for byte in (b"{", b'"', b"t"):
        for connection in connections:
            connection.sendall(byte)
        time.sleep(0.05)
    assert [client.post("/predict", json={"text": text}).status_code for text in EVERY_SHAPE] == [200] * len(EVERY_SHAPE)
    return [all_of(connection) for connection in connections]


@pytest.mark.parametrize(("path", "kind"), [("/predict", JSON), ("/predict/batch", JSON), ("/predict/file", NDJSON)])
def test_stalled_body_gets_408_and_the_end_while_others_are_answered(
    hostile: tuple[httpx.Client, psutil.Process], path: str, kind: dict[str, str]
) -> None:
    for answer in stalled(hostile[0], path, kind["content-type"]):
        assert statuses(answer) == [408]
        assert b"connection: close" in answer.lower()
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"detail"}


def broken_off(client: httpx.Client) -> list[bytes]:
    """End connections in all places of a request; return what is read of each until the server ends it."""
    whole, answers = post("/predict/batch", json.dumps({"texts": EVERY_SHAPE * 8}).encode()), []
    for part in (
        b"",
        whole[:20],
        whole[:-500],
        whole[:-1],
        post("/predict/file", b'{"text": "go', NDJSON["content-type"], content_length="90"),
    ):
        connection = connected(client)
        connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        answers.append(all_of(connection))
    for part in (whole[:-500], whole):
        connection = connected(client)
        connection.sendall(part)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
        connection.close()
    connection = connected(client)
    connection.sendall(whole)
    connection.shutdown(socket.SHUT_WR)
    answers.append(all_of(connection))
    return answers


def test_client_that_ends_its_side_causes_no_500(hostile: tuple[httpx.Client, psutil.Process]) -> None:
    client, _ = hostile
    *broken, whole = map(statuses, broken_off(client))
    assert not any(broken)
    assert whole == [200], "who has sent all may end its side, and still gets the answer"
    assert client.post("/predict", json={"text": "good"}).status_code == 200
    until(lambda: series(client)["sentiment_queue_texts"] == 0)
    assert not [name for name in series(client) if name.startswith("sentiment_requests_total") and 'status="500"' in name]


def until(done: Callable[[], bool]) -> None:
    """Wait for what comes when the server has taken notice."""
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("it has not come in a minute")


def statuses_beside_endless_headers(client: httpx.Client) -> set[int]:
    """Send headers that never end; return what others are answered meanwhile."""
    connections = [connected(client) for _ in range(8)]
    for connection in connections:
        connection.sendall(b"GET /health HTTP/1.1\r\n" + b"X-A: a\r\n" * 2000)
    found = {client.post("/predict", json={"text": text}).status_code for text in EVERY_SHAPE}
    for connection in connections:
        connection.sendall(b"X-A: a\r\n" * 2000)
        connection.close()
    return found


def test_headers_that_never_end_keep_nobody_from_an_answer(hostile: tuple[httpx.Client, psutil.Process]) -> None:
    assert statuses_beside_endless_headers(hostile[0]) == {200}


ENDLESS = {
    "headers": b"GET /health HTTP/1.1\r\n" + b"X-A: a\r\n" * 20_000,
    "a header": b"GET /health HTTP/1.1\r\nX-A: " + b"a" * 200_000,
    "a path": b"GET /" + b"a" * 200_000,
}


def endless(client: httpx.Client, sent: bytes) -> None:
    """Send the beginning of a request over and over, until the server ends the connection."""
    with connected(client) as connection, contextlib.suppress(ConnectionError):
        for _ in range(50):
            connection.sendall(sent)
        raise AssertionError("it took all")


@pytest.mark.parametrize("sent", ENDLESS.values(), ids=ENDLESS)
def test_endless_head_is_refused_unheld(hostile: tuple[httpx.Client, psutil.Process], sent: bytes) -> None:
    client, process = hostile
    before = process.memory_info().rss
    for _ in range(10):
        endless(client, sent)
    assert process.memory_info().rss < before + 30 * MIB
    assert client.post("/predict", json={"text": "good"}).status_code == 200


@pytest.mark.parametrize("pieces", [1, 2], ids=["in one piece", "body apart"])
def test_offer_of_http2_is_passed_over_and_the_body_read(hostile: tuple[httpx.Client, psutil.Process], pieces: int) -> None:
    body = b'{"text": "good"}'
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % (KEY["x-api-key"].encode(), len(body))
    )
    with connected(hostile[0]) as connection:
        for _ in range(2):
            if pieces == 1:
                connection.sendall(head + body)
            else:
                connection.sendall(head)
                time.sleep(0.1)
                connection.sendall(body)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, json.load(answer).keys()) == (200, {"label", "score"})


def test_head_that_is_too_long_gets_431(hostile: tuple[httpx.Client, psutil.Process]) -> None:
    connection = connected(hostile[0])
    connection.sendall(b"GET /health HTTP/1.1\r\n")
    for _ in range(5):
        connection.sendall(b"X-A: " + b"a" * 15_000 + b"\r\n")
        time.sleep(0.05)
    assert statuses(all_of(connection)) == [431]


def test_head_that_stalls_gets_408_and_an_idle_connection_its_end(hostile: tuple[httpx.Client, psutil.Process]) -> None:
    stalling, idle = connected(hostile[0]), connected(hostile[0])
    stalling.sendall(b"GET /health HTTP/1.1\r\nHost")
    assert statuses(all_of(stalling)) == [408]
    assert all_of(idle) == b""


def test_pipelined_requests_are_answered_in_their_order(hostile: tuple[httpx.Client, psutil.Process], tiny_bundle: Path) -> None:
    expected = Classifier.load(tiny_bundle, threads=1).predict(EVERY_SHAPE)
    sent = [post(body=json.dumps({"text": text}).encode()) for text in EVERY_SHAPE]
    connection = connected(hostile[0])
    connection.sendall(b"".join(sent) + post(connection="close", body=b'{"text": ""}'))
    answer = all_of(connection)
    assert statuses(answer) == [200] * len(EVERY_SHAPE) + [422]
    bodies = [json.loads(b"{" + part.partition(b"{")[2].partition(b"}")[0] + b"}") for part in answer.split(b"HTTP/1.1 ")[1:-1]]
    assert [body["label"] for body in bodies] == [f"LABEL_{label_id}" for label_id in expected.label_ids]


def test_http_1_0_gets_an_answer_and_the_end(hostile: tuple[httpx.Client, psutil.Process]) -> None:
    for more in ({}, {"connection": "keep-alive"}):
        connection = connected(hostile[0])
        connection.sendall(post(version="1.0", **more))
        assert statuses(all_of(connection)) == [200]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"content_length": "9" * 40}, 400),
        ({"content_length": "-5"}, 400),
        ({"content_length": "+16"}, 400),
        ({"content_length": "0x10"}, 400),
        ({"content_length": ""}, 400),
        ({"content_length": "16\r\ncontent-length: 17"}, 400),
        ({"transfer_encoding": "chunked"}, 400),
        ({"content_length": "1" + "0" * 18}, 408),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("path", ["/predict", "/predict/file"])
def test_absurd_length_gets_a_4xx_and_the_end(
    hostile: tuple[httpx.Client, psutil.Process], path: str, more: dict[str, str], expected: int
) -> None:
    kind = "application/json" if path == "/predict" else "application/x-ndjson"
    connection = connected(hostile[0])
    connection.sendall(post(path, kind=kind, connection="close", **more))
    answer = all_of(connection)
    assert statuses(answer) == [413 if (path, expected) == ("/predict/file", 408) else expected], answer


def test_memory_and_descriptors_are_back_after_the_storm(hostile: tuple[httpx.Client, psutil.Process]) -> None:
    client, process = hostile
    bomb = gzip.compress(b" " * 20 * MIB, compresslevel=1)

    def storm() -> None:
        for path, (headers, body) in ROUTES.items():
            for value in VALUES.values():
                client.post(path, content=body % value, headers=headers)
            client.post(path, content=bomb, headers={**headers, "content-encoding": "gzip"})
            client.post(path, content=iter([b" " * MIB] * 3), headers=headers)
        client.post("/predict/batch", json={"texts": ["좋" * 2500] * 100})
        stalled(client, "/predict", "application/json")
        broken_off(client)
        assert statuses_beside_endless_headers(client) == {200}
        for sent in ENDLESS.values():
            endless(client, sent)

    for _ in range(2):
        storm()
    until(lambda: len(process.net_connections("tcp")) == 2)  # where it listens, and our client
    before, opened = process.memory_info().rss, process.num_fds()
    for _ in range(3 * TIMES):
        storm()
    until(lambda: len(process.net_connections("tcp")) == 2)
    assert process.num_fds() == opened
    grown = process.memory_info().rss - before
    assert grown < 8 * MIB, f"{grown / MIB:.1f} MiB more"


# Load


def test_overload_answers_or_refuses_each_request_and_is_over_when_it_is_over(tiny_bundle: Path) -> None:
    texts = [f"the {thing} was {how} {end}" for thing in ("film", "food") for how in ("very good", "bad") for end in ("a ", "i " * 2500)]
    labels = [f"LABEL_{label_id}" for label_id in Classifier.load(tiny_bundle, threads=1).predict(texts).label_ids]
    clients, each = 24, 10 * TIMES

    with server(tiny_bundle, SENTIMENT_MAX_WAITING=str(len(texts) * clients // 3)) as (client, process):

        def ask(own: httpx.Client, number: int) -> tuple[int, str | None, object]:
            shift = number % len(texts)
            answer = own.post("/predict/batch", json={"texts": texts[shift:] + texts[:shift]})
            retry = answer.headers.get("retry-after")
            if answer.status_code != 200:
                return answer.status_code, retry, sorted(answer.json())
            return 200, retry, [result.get("label") for result in answer.json()["results"]] == labels[shift:] + labels[:shift]

        def storm() -> Counter[tuple[int, str | None, str]]:
            return Counter((status, retry, str(right)) for status, retry, right in answers_of(client, ask, clients=clients, each=each))

        counted = storm() + storm()  # engines keep something for each shape of batch that they meet
        before = psutil.Process(process.pid).memory_info().rss
        for _ in range(2):
            counted += storm()
        assert set(counted) == {(200, None, "True"), (503, "1", "['detail']")}, counted
        assert sum(counted.values()) == 4 * clients * each
        assert psutil.Process(process.pid).memory_info().rss - before < 8 * MIB
        assert series(client)["sentiment_queue_texts"] == 0
        assert [ask(client, number)[0] for number in range(20)] == [200] * 20


def test_fifty_reloads_under_load_fail_no_request(tiny_bundle: Path, copied_bundle: Path) -> None:
    manifest = json.loads((copied_bundle / "bundle.json").read_text("utf-8"))
    (copied_bundle / "bundle.json").write_text(json.dumps(manifest | {"uncertain_below": 0.99}), "utf-8")
    folders = [tiny_bundle, copied_bundle]
    classifier = Classifier.load(tiny_bundle, threads=1)
    expected = {text: f"LABEL_{label_id}" for text, label_id in zip(EVERY_SHAPE, classifier.predict(EVERY_SHAPE).label_ids, strict=True)}
    over = threading.Event()

    with server(tiny_bundle, SENTIMENT_API_KEYS=KEYS) as (client, process), ThreadPoolExecutor(4) as pool:

        def ask_until_over() -> Counter[object]:
            counted: Counter[object] = Counter()
            with httpx.Client(base_url=client.base_url, headers=KEY, timeout=60, trust_env=False) as own:
                while not over.is_set():
                    for text, label in expected.items():
                        answer = own.post("/predict?detail=true", json={"text": text})
                        right = answer.status_code == 200 and answer.json()["label"] == label
                        counted[answer.json()["model"] if right else answer.text] += 1
            return counted

        def reload(number: int) -> str:
            answer = client.post("/admin/reload", json={"folder": str(folders[number % 2])}, headers=KEY)
            assert answer.status_code == 200, answer.text
            return answer.json()["sha256"]

        asking = [pool.submit(ask_until_over) for _ in range(4)]
        try:
            models = [reload(number) for number in range(10)]
            before = psutil.Process(process.pid).memory_info().rss
            models += [reload(number) for number in range(50 * TIMES - 10)]
            grown = psutil.Process(process.pid).memory_info().rss - before
        finally:
            over.set()
        counted = sum((each.result() for each in asking), Counter[object]())
    assert len(set(models)) == 2
    assert set(counted) == set(models), counted
    assert grown < 8 * MIB, f"{grown / MIB:.1f} MiB more"


def test_eight_clients_at_once_get_the_answers_of_one_by_one(tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle, threads=1)
    words = VOCABULARY.split()
    texts = [" ".join(words[(row * 7 + step * (row % 5 + 1)) % len(words)] for step in range(row % 60 + 1)) for row in range(240)]
    alone = [classifier.predict([text]) for text in texts]
    assert {bool(answer.truncated[0]) for answer in alone} == {False, True}
    bound = max(classifier.spec.batch_bound, 1e-5)
    with server(tiny_bundle) as (client, _):
        answers = answers_of(
            client, lambda own, number: own.post("/predict", json={"text": texts[number % 240]}).json(), clients=8, each=30 * TIMES
        )
    for number, answer in enumerate(answers):
        expected = alone[number % 240]
        assert answer == {"label": f"LABEL_{expected.label_ids[0]}", "score": pytest.approx(expected.scores[0], abs=bound)}
