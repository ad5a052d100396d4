"""Connections of uvicorn, with three additions for which uvicorn has no setting.

- Headers have a limit of size and of time.
- A client that has sent a complete request may close its side of the connection and still gets the answer.
- A client that offers HTTP/2 with a request, as Java's client does, gets an answer in HTTP/1.1. uvicorn's parser would lose the body.

The class overrides private parts of uvicorn; tests/serving/web/test_connections.py names them.
"""

import asyncio
import json
import re
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 65_536  # bytes
UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class Connection(HttpToolsProtocol):
    """One connection to a client. head_seconds: how long a client may take to send the headers of a request."""

    head_seconds = 30.0
    _in_body = False
    _head_bytes = 0  # received since the last complete headers or the last bytes of a body
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        if not self._in_body:
            head, end, rest = data.partition(b"\r\n\r\n")
            data = UPGRADE.sub(b"\r\nX-Upgrade:", head) + end + rest
        super().data_received(data)
        if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the headers have more than {MAX_HEAD:,} bytes: send fewer")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection until the answer is sent, if the request is complete."""
        complete = self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
        if complete:
            self.cycle.keep_alive = False
        return complete

    def on_message_begin(self) -> None:
        self._start_head_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._head_bytes = 0
        self._stop_head_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._head_bytes = 0
        super().on_message_complete()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            late = HTTPStatus.REQUEST_TIMEOUT, "the headers did not arrive in time: send all of them at once"
            self._head_timer = self.loop.call_later(self.head_seconds, self._refuse, *late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Close the connection. Say why, if a request has begun and no answer is on its way."""
        if self.scope is not None and (self.cycle is None or self.cycle.response_complete):
            body = json.dumps({"detail": message})
            head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            self.transport.write(f"{head}Connection: close\r\n\r\n{body}".encode())
        self.transport.close()


def patch_uvicorn() -> None:
    """Make the command `uvicorn` use this class, which it cannot take as a flag. `python -m serving` passes the class instead."""

    def new(_: type, *__: Any, **___: Any) -> Connection:
        return object.__new__(Connection)

    HttpToolsProtocol.__new__ = new  # type: ignore[assignment, method-assign]
