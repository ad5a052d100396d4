"""The middleware around every request: it gives the request an id, a line in the access log and a place in the metrics.

It is plain ASGI, so streams pass through it unchanged.
"""

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
NO_ROUTE = "unmatched"  # one name for all unknown paths, so that they make no new series
HTML_HEADERS = {
    "content-security-policy": "default-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


class AccessMiddleware:
    """Identifies, logs and counts each request."""

    def __init__(self, app: ASGIApp, monitor: Monitor) -> None:
        self.app = app
        self.monitor = monitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self.app(scope, receive, _without_traceback(send) if scope["type"] == "lifespan" else send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        sender, start = _Sender(send, request_id), time.perf_counter()
        try:
            await self.app(scope, receive, sender)
        except Exception:
            if not sender.started:
                failure = {"detail": "the server failed to answer this request: its log says why"}
                await JSONResponse(failure, 500)(scope, receive, sender)
            raise
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            self.monitor.count_request(route, sender.status, seconds)
            if log.isEnabledFor(logging.INFO):
                log.info("%s", _log_line(request_id, scope["method"], route, sender.status, seconds))


class _Sender:
    """Sends a response with the id of its request and, for HTML, security headers. It remembers the status (500 before it has started)."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status, self.started = 500, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            if headers.get("content-type", "").startswith("text/html"):
                for name, value in HTML_HEADERS.items():
                    headers.setdefault(name, value)  # a page may be stricter
        await self._send(message)


def _request_id(scope: Scope) -> str:
    """Return the X-Request-ID of the client if it is plain, or else a new id."""
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if PLAIN_ID.fullmatch(sent) else uuid.uuid4().hex


def _log_line(request_id: str, method: str, route: str, status: int, seconds: float) -> str:
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request_id": request_id,
        "method": method,
        "route": route,
        "status": status,
        "milliseconds": round(1000 * seconds, 2),
    }
    return json.dumps(line)


def _without_traceback(send: Send) -> Send:
    """Log only the error message if a broken bundle stops the start."""

    async def send_message(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            _, _, reason = message["message"].rpartition(f"{BundleBroken.__name__}: ")
            message = {**message, "message": reason.strip()}
        await send(message)

    return send_message


def set_up_log(*, lines: bool) -> None:
    """Silence loggers that write query strings or bodies, which contain texts. lines: write a JSON line per request to standard output."""
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings quote the body
    if not lines:
        return
    if not log.handlers:
        handler: logging.StreamHandler[Any] = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.propagate = False
    log.setLevel(logging.INFO)
