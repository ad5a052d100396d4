"""What no client can do to the server: generated requests, hostile requests, overload, and reloads under load.

RELIABILITY_TIMES multiplies the number of requests. `make bench` sets it to 10, and generates other requests in each run.
"""

import gzip
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
from serving.web.schemas import Reload
from tests.building import VOCABULARY
from tests.running import ROOT
from tests.serving.http import (
    ADMIN_KEYS,
    AS_ADMIN,
    ENDLESS_HEADS,
    EVERY_LENGTH,
    JSON,
    NDJSON,
    SECRET,
    answers_of,
    answers_to_closed_clients,
    answers_to_stalled_bodies,
    assert_refused,
    own_client,
    send_endless_head,
    series,
    server,
    statuses_beside_endless_headers,
    until,
)

TIMES = int(os.environ.get("RELIABILITY_TIMES", "1"))
MIB = 1024 * 1024


# Generated from the OpenAPI document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
EXAMPLES = {"POST /admin/reload": (30, 300)}  # numbers of valid and invalid requests; each valid one loads a bundle


def strings_of(value: object) -> Iterator[str]:
    """Yield all strings of a body that are too long to be in an error by chance."""
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
    counted: Counter[tuple[str, int]] = Counter()
    ours = "".join(
        file.read_text("utf-8") for folder in ("serving", "tests") for file in (ROOT / folder).rglob("*.py")
    )  # Hypothesis takes constants from it

    def ask(case: schemathesis.Case, headers: dict[str, str]) -> None:
        if isinstance(case.body, dict) and case.body.get("folder") == Reload.model_config["json_schema_extra"]["example"]["folder"]:
            case.body["folder"] = str(tiny_bundle)  # the real bundle may be missing
        response = case.call(session=session, headers=headers)
        counted[case.operation.label, response.status_code] += 1
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

    with server(tiny_bundle, SENTIMENT_API_KEYS=ADMIN_KEYS) as (client, _), requests.Session() as session:
        schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
        operations = [result.ok() for result in schema.get_all_operations()]
        for operation in operations:
            valid, invalid = EXAMPLES.get(operation.label, (280, 280))
            generate(operation, schemathesis.GenerationMode.POSITIVE, valid, AS_ADMIN)
            if operation.body:
                generate(operation, schemathesis.GenerationMode.NEGATIVE, invalid, AS_ADMIN)
            if operation.path.startswith(("/predict", "/admin")):
                generate(operation, schemathesis.GenerationMode.POSITIVE, 20, {})
    assert sum(counted.values()) >= 2000 * TIMES, counted
    assert {label for label, _ in counted} == {operation.label for operation in operations}
    for label in ("POST /predict", "POST /predict/batch", "POST /predict/file", "POST /admin/reload"):
        assert counted[label, 200], counted
        assert counted[label, 401], counted
        assert counted[label, 422], counted


# Hostile clients


ROUTES = {
    "/predict": (JSON, b'{"text": %s}'),
    "/predict/batch": (JSON, b'{"texts": [%s]}'),
    "/predict/file": ({"content-type": NDJSON}, b'{"text": %s}\n'),
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
def test_no_value_gets_a_5xx_or_an_echo(hasty_server: tuple[httpx.Client, psutil.Process], path: str, value: bytes) -> None:
    client, _ = hasty_server
    headers, body = ROUTES[path]
    answer = client.post(path, content=body % value, headers=headers)
    if path in ("/predict/batch", "/predict/file"):  # they report it at its index, or refuse the request
        assert answer.status_code in (200, 422), answer.text
        is_another_encoding = (path, value) == ("/predict/file", VALUES["bytes"])  # a file may be in Windows-1252
        assert ('"label"' in answer.text) == is_another_encoding
    else:
        assert answer.status_code in (409, 422) if path == "/admin/reload" else answer.status_code == 422, answer.text
    if answer.status_code == 422:
        assert_refused(answer, 422)
    assert client.get("/ready").status_code == 200


def test_memory_and_file_descriptors_are_free_after_the_storm(hasty_server: tuple[httpx.Client, psutil.Process]) -> None:
    client, process = hasty_server
    bomb = gzip.compress(b" " * 20 * MIB, compresslevel=1)

    def storm() -> None:
        for path, (headers, body) in ROUTES.items():
            for value in VALUES.values():
                client.post(path, content=body % value, headers=headers)
            client.post(path, content=bomb, headers={**headers, "content-encoding": "gzip"})
            client.post(path, content=iter([b" " * MIB] * 3), headers=headers)
        client.post("/predict/batch", json={"texts": ["좋" * 2500] * 100})
        answers_to_stalled_bodies(client, "/predict", "application/json")
        answers_to_closed_clients(client)
        assert statuses_beside_endless_headers(client) == {200}
        for head in ENDLESS_HEADS.values():
            send_endless_head(client, head)

    for _ in range(2):
        storm()
    until(lambda: len(process.net_connections("tcp")) == 2)  # the listening socket, and our client
    before, opened = process.memory_info().rss, process.num_fds()
    for _ in range(3 * TIMES):
        storm()
    until(lambda: len(process.net_connections("tcp")) == 2)
    assert process.num_fds() == opened
    grown = process.memory_info().rss - before
    assert grown < 8 * MIB, f"{grown / MIB:.1f} MiB more"


# Load


def test_overload_answers_or_refuses_each_request_and_leaves_nothing_behind(tiny_bundle: Path) -> None:
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

        counted = storm() + storm()  # an engine keeps some memory for each new shape of batch
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
    expected = {text: f"LABEL_{label_id}" for text, label_id in zip(EVERY_LENGTH, classifier.predict(EVERY_LENGTH).label_ids, strict=True)}
    over = threading.Event()

    with server(tiny_bundle, SENTIMENT_API_KEYS=ADMIN_KEYS) as (client, process), ThreadPoolExecutor(4) as pool:

        def ask_until_over() -> Counter[object]:
            counted: Counter[object] = Counter()
            with own_client(client, headers=AS_ADMIN) as own:
                while not over.is_set():
                    for text, label in expected.items():
                        answer = own.post("/predict?detail=true", json={"text": text})
                        right = answer.status_code == 200 and answer.json()["label"] == label
                        counted[answer.json()["model"] if right else answer.text] += 1
            return counted

        def reload(number: int) -> str:
            answer = client.post("/admin/reload", json={"folder": str(folders[number % 2])}, headers=AS_ADMIN)
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


def test_eight_clients_at_once_get_the_same_answers_as_each_text_alone(tiny_bundle: Path) -> None:
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
