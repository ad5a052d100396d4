"""Connections under bad clients: headers that never end or stall, half-closed sides, offers of HTTP/2, absurd lengths."""

import asyncio
import http.client
import inspect
import json
import sys
import time
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from serving.inference.classifier import Classifier
from serving.web.connections import Connection
from tests.running import run_command
from tests.serving.http import (
    ADMIN_KEY,
    ENDLESS_HEADS,
    EVERY_LENGTH,
    answers_to_closed_clients,
    connected,
    read_to_end,
    request_bytes,
    send_endless_head,
    series,
    statuses,
    statuses_beside_endless_headers,
    until,
)

Hasty = tuple[httpx.Client, psutil.Process]


def test_uvicorn_still_has_the_private_parts_that_connections_use() -> None:
    overridden = {name for name, value in vars(Connection).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert overridden == {
        *("connection_made", "connection_lost", "data_received", "eof_received"),
        *("on_message_begin", "on_headers_complete", "on_body", "on_message_complete"),
    }
    assert [name for name in overridden if not callable(getattr(HttpToolsProtocol, name, None))] == []
    protocol = HttpToolsProtocol(uvicorn.Config("serving.app:app"), ServerState(), {}, _loop=asyncio.new_event_loop())
    assert {"cycle", "scope", "transport", "loop"} <= vars(protocol).keys()
    assert {"more_body", "response_complete", "keep_alive"} <= set(RequestResponseCycle.__init__.__code__.co_names)


def test_plain_uvicorn_makes_our_connections() -> None:
    code = """
import asyncio, uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
config = uvicorn.Config("serving.app:app")
config.load()
made = config.http_protocol_class(config, uvicorn.server.ServerState(), {}, _loop=asyncio.new_event_loop())
print(config.http_protocol_class is HttpToolsProtocol, type(made).__name__)
"""
    assert run_command(sys.executable, "-c", code).stdout == "True Connection\n"


def test_client_that_closes_its_side_causes_no_500(hasty_server: Hasty) -> None:
    client, _ = hasty_server
    *broken, complete = map(statuses, answers_to_closed_clients(client))
    assert not any(broken)
    assert complete == [200], "a client that has sent its complete request may close its side, and still gets the answer"
    assert client.post("/predict", json={"text": "good"}).status_code == 200
    until(lambda: series(client)["sentiment_queue_texts"] == 0)
    assert not [name for name in series(client) if name.startswith("sentiment_requests_total") and 'status="500"' in name]


def test_headers_that_never_end_keep_nobody_from_an_answer(hasty_server: Hasty) -> None:
    assert statuses_beside_endless_headers(hasty_server[0]) == {200}


@pytest.mark.parametrize("head", ENDLESS_HEADS.values(), ids=ENDLESS_HEADS)
def test_head_that_never_ends_is_refused_and_not_held_in_memory(hasty_server: Hasty, head: bytes) -> None:
    client, process = hasty_server
    before = process.memory_info().rss
    for _ in range(10):
        send_endless_head(client, head)
    assert process.memory_info().rss < before + 30 * 1024 * 1024
    assert client.post("/predict", json={"text": "good"}).status_code == 200


@pytest.mark.parametrize("at_once", [True, False], ids=["body with the head", "body after the head"])
def test_offer_of_http2_is_ignored_and_the_body_is_read(hasty_server: Hasty, at_once: bool) -> None:
    body = b'{"text": "good"}'
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % (ADMIN_KEY.encode(), len(body))
    )
    with connected(hasty_server[0]) as connection:
        for _ in range(2):
            if at_once:
                connection.sendall(head + body)
            else:
                connection.sendall(head)
                time.sleep(0.1)
                connection.sendall(body)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, json.load(answer).keys()) == (200, {"label", "score"})


def test_head_that_is_too_long_gets_431(hasty_server: Hasty) -> None:
    connection = connected(hasty_server[0])
    connection.sendall(b"GET /health HTTP/1.1\r\n")
    for _ in range(5):
        connection.sendall(b"X-A: " + b"a" * 15_000 + b"\r\n")
        time.sleep(0.05)
    assert statuses(read_to_end(connection)) == [431]


def test_head_that_stalls_gets_408_and_an_idle_connection_is_closed(hasty_server: Hasty) -> None:
    stalling, idle = connected(hasty_server[0]), connected(hasty_server[0])
    stalling.sendall(b"GET /health HTTP/1.1\r\nHost")
    assert statuses(read_to_end(stalling)) == [408]
    assert read_to_end(idle) == b""


def test_pipelined_requests_are_answered_in_their_order(hasty_server: Hasty, tiny_bundle: Path) -> None:
    expected = Classifier.load(tiny_bundle, threads=1).predict(EVERY_LENGTH)
    sent = [request_bytes(body=json.dumps({"text": text}).encode()) for text in EVERY_LENGTH]
    connection = connected(hasty_server[0])
    connection.sendall(b"".join(sent) + request_bytes(connection="close", body=b'{"text": ""}'))
    answer = read_to_end(connection)
    assert statuses(answer) == [200] * len(EVERY_LENGTH) + [422]
    bodies = [json.loads(b"{" + part.partition(b"{")[2].partition(b"}")[0] + b"}") for part in answer.split(b"HTTP/1.1 ")[1:-1]]
    assert [body["label"] for body in bodies] == [f"LABEL_{label_id}" for label_id in expected.label_ids]


def test_http_1_0_gets_an_answer_and_the_end(hasty_server: Hasty) -> None:
    for more in ({}, {"connection": "keep-alive"}):
        connection = connected(hasty_server[0])
        connection.sendall(request_bytes(version="1.0", **more))
        assert statuses(read_to_end(connection)) == [200]


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
def test_absurd_length_gets_a_4xx_and_the_end(hasty_server: Hasty, path: str, more: dict[str, str], expected: int) -> None:
    media_type = "application/json" if path == "/predict" else "application/x-ndjson"
    connection = connected(hasty_server[0])
    connection.sendall(request_bytes(path, media_type=media_type, connection="close", **more))
    answer = read_to_end(connection)
    assert statuses(answer) == [413 if (path, expected) == ("/predict/file", 408) else expected], answer
