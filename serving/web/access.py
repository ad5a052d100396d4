"""What surrounds every request: its id, its line in the access log, its place in the metrics. ASGI, so that streams pass untouched."""

import json
import logging
import re
import sys
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.inference.errors import BundleBroken
from serving.monitoring.metrics import Monitor

log = logging.getLogger("sentiment.access")

PLAIN_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
NO_ROUTE = "unmatched"  # so that made-up paths make no series
HTML_HEADERS = {
    "content-security-policy": "default-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


class Access:
    """Gives each request an id (X-Request-ID, taken over where the client sends a plain one), logs and counts it."""

    def __init__(self, app: ASGIApp, monitor: Monitor) -> None:
        self.app = app
        self.monitor = monitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, _without_traceback(send))
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if PLAIN_ID.fullmatch(asked) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        start, status, answering = time.perf_counter(), 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                status, answering = message["status"], True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                if headers.get("content-type", "").startswith("text/html"):
                    headers.update(HTML_HEADERS)
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            if not answering:
                failure = {"detail": "the server failed at this request: its log has more"}
                await JSONResponse(failure, 500)(scope, receive, send_with_id)
            raise
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            self.monitor.request(route, status, seconds)
            if log.isEnabledFor(logging.INFO):
                log.info(
                    "%s",
                    json.dumps(
                        {
                            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                            "request_id": request_id,
                            "method": scope["method"],
                            "route": route,
                            "status": status,
                            "milliseconds": round(1000 * seconds, 2),
                        }
                    ),
                )


def _without_traceback(send: Send) -> Send:
    """Let a bundle that cannot be served end the start with its sentence alone."""

    async def send_sentence(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            _, _, sentence = message["message"].rpartition(f"{BundleBroken.__name__}: ")
            message = {**message, "message": sentence.strip()}
        await send(message)

    return send_sentence


def set_up_log(*, lines: bool) -> None:
    """Silence what logs query strings and bodies, which hold texts. lines: whether to write a JSON line per request to standard output."""
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings hold characters of what was sent
    if not lines:
        return
    if not log.handlers:
        handler: logging.StreamHandler[Any] = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.propagate = False
    log.setLevel(logging.INFO)
