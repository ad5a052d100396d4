"""Connections of uvicorn, with what it has no setting for: headers are bounded in size and time; who has sent a whole request may
close that side of the connection and still gets the answer; and who offers HTTP/2 with a request, as Java's client does, is answered
in HTTP/1.1, where the parser would lose the body.
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
    """One connection to a client. head_seconds: until the headers of a request must be there."""

    head_seconds = 30.0
    _in_body = False
    _unread = 0  # bytes since the last that were headers as a whole, or body
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        if not self._in_body:
            head, end, rest = data.partition(b"\r\n\r\n")
            data = UPGRADE.sub(b"\r\nX-Upgrade:", head) + end + rest
        super().data_received(data)
        if self._unread > MAX_HEAD and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the headers have more than {MAX_HEAD:,} bytes")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection until the answer is sent, where the request is whole."""
        whole = self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
        if whole:
            self.cycle.keep_alive = False
        return whole

    def on_message_begin(self) -> None:
        self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._unread = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._unread = 0
        super().on_message_complete()

    def _wait_for_head(self) -> None:
        if self._due is None:
            late = HTTPStatus.REQUEST_TIMEOUT, "the headers did not come in time"
            self._due = self.loop.call_later(self.head_seconds, self._refuse, *late)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Close the connection, and say why where a request has begun and no answer is on its way."""
        if self.scope is not None and (self.cycle is None or self.cycle.response_complete):
            body = json.dumps({"detail": sentence})
            head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            self.transport.write(f"{head}Connection: close\r\n\r\n{body}".encode())
        self.transport.close()


def bound_connections() -> None:
    """Have plain uvicorn make its connections of this class: its command line takes no class, and `python -m serving` passes it."""

    def new(_: type, *__: Any, **___: Any) -> Connection:
        return object.__new__(Connection)

    HttpToolsProtocol.__new__ = new  # type: ignore[assignment, method-assign]
