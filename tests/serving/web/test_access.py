"""That every answer has an id and a line in the access log, never with a text."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, cast

import httpx2 as httpx
import pytest
from starlette.types import Receive

from serving.monitoring.metrics import Monitor
from serving.web.access import AccessMiddleware
from tests.serving.http import SECRET, log_lines, server


def test_every_answer_has_an_id_and_a_line_in_the_log_without_the_text(tiny_bundle: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log, server(tiny_bundle, output=log) as (client, _):
        answer = client.post("/predict", json={"text": SECRET}, headers={"x-request-id": "mine.1"})
        assert answer.headers["x-request-id"] == "mine.1"
        strange = client.get(f"/nowhere?text={SECRET}", headers={"x-request-id": 'x" y'})
        assert re.fullmatch("[0-9a-f]{32}", strange.headers["x-request-id"])
    lines = log_lines(tmp_path / "log")
    (line,) = [line for line in lines if line["request_id"] == "mine.1"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/predict", 200)
    assert line["milliseconds"] > 0
    assert [line["route"] for line in lines if line["status"] == 404] == ["unmatched"]
    assert SECRET not in (tmp_path / "log").read_text("utf-8")


def test_page_has_security_headers_and_json_does_not(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "content-security-policy" not in client.get("/health").headers


def test_failure_of_the_server_has_an_id_and_an_error_message() -> None:
    async def failing(*_: object) -> None:
        raise ZeroDivisionError

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-id", b"mine")]}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(AccessMiddleware(failing, Monitor())(scope, cast(Receive, None), send))
    assert sent[0]["status"] == 500
    assert (b"x-request-id", b"mine") in sent[0]["headers"]
    assert json.loads(sent[1]["body"]) == {"detail": "the server failed to answer this request: its log says why"}
