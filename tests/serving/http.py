"""What tests of the HTTP server share: a real server process, bodies of all kinds, and clients that write raw bytes to a socket."""

import contextlib
import csv
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx2 as httpx

from serving.keys import digest
from tests.running import ROOT

SECRET = "xyzzysecret"  # part of every refused text; no answer may contain it
TERMINATED = (0, 143, -15)  # exit codes of a server after SIGTERM
ADMIN_KEY = "the key of an admin"
AS_ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
ADMIN_KEYS = json.dumps({digest(ADMIN_KEY): "admin", digest("a client's"): "predict"})  # for SENTIMENT_API_KEYS
EVERY_LENGTH = [
    "good",
    "the film was very good " * 2,
    "bad " * 9,
    "the food was awful and the staff was poor " * 20,
]  # one word to truncated

CSV, TSV, NDJSON, FORM_DATA = "text/csv", "text/tab-separated-values", "application/x-ndjson", "multipart/form-data; boundary=B"
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": FORM_DATA}


# A server process and its answers


def uvicorn(port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", "serving.app:app", "--port", str(port), "--log-level", "warning"]


@contextmanager
def server(
    bundle: Path, output: BinaryIO | None = None, command: Callable[[int], list[str]] = uvicorn, **environment: str
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """Start a server on a free port, wait until it answers, and give a client and the process; end it with SIGTERM.

    output: where the server writes its log. command: the command for a port.
    """
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


def own_client(client: httpx.Client, **options: Any) -> httpx.Client:
    """Return another client of the same server, for a thread."""
    return httpx.Client(base_url=client.base_url, timeout=120, trust_env=False, **options)


def answers_of(client: httpx.Client, work: Callable[[httpx.Client, int], Any], *, clients: int, each: int) -> list[Any]:
    """Call work(client, number) in as many threads as there are clients; return all results in the order of their numbers."""

    def ask(first: int) -> list[Any]:
        with own_client(client) as own:
            return [work(own, first + number) for number in range(each)]

    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(ask, range(0, clients * each, each)) for answer in answers]


def assert_refused(answer: httpx.Response, status: int, *words: str) -> None:
    """Check the status and the form of a refusal, and that its message has these words and not the client's text."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert isinstance(answer.json()["detail"], str)
    assert SECRET not in answer.text
    for word in words:
        assert word in answer.json()["detail"]


def series(client: httpx.Client) -> dict[str, float]:
    """Return the values of /metrics by name and labels."""
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def log_lines(file: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a server's log."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.startswith("{")]


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for a minute at most."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("the condition did not hold within a minute")


# Forms and files


def part(content: bytes, disposition: str = 'form-data; name="file"; filename="a.csv"', *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"Content-Disposition: {disposition}", *headers))
    return b"--B\r\n" + head.encode() + b"\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--B--\r\n"


def text_form(text: bytes, disposition: str = 'form-data; name="text"') -> bytes:
    return form(part(text, disposition))


FIELD = part(b"text\r\nof no file", 'form-data; name="note"')
SMALL = b"text\nthe film was good\n"


def send_file(client: httpx.Client, media_type: str, body: bytes | Iterator[bytes], query: str = "") -> httpx.Response:
    return client.post(f"/predict/file{query}", content=body, headers={"content-type": media_type})


def rows_of(media_type: str, answer: bytes | str) -> list[dict[str, Any]]:
    text = answer if isinstance(answer, str) else answer.decode()
    if media_type == NDJSON:
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if media_type == TSV else ","))


# Clients that write raw bytes


def request_bytes(
    path: str = "/predict", body: bytes = b'{"text": "good"}', media_type: str = "application/json", version: str = "1.1", **more: str
) -> bytes:
    """Return the bytes of a POST. more: headers in addition to or in place of the usual ones, with _ for -."""
    headers = {"host": "a", "content-type": media_type, "content-length": str(len(body)), **AS_ADMIN}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n".encode() + body


def connected(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=60)


def read_to_end(connection: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


def answers_to_stalled_bodies(client: httpx.Client, path: str, media_type: str) -> list[bytes]:
    """Send the first bytes of eight bodies, then nothing; check that others get answers; return what comes until each connection ends."""
    connections = [connected(client) for _ in range(8)]
    for connection in connections:
        connection.sendall(request_bytes(path, b"", media_type, content_length="100"))
    for byte in (b"{", b'"', b"t"):
        for connection in connections:
            connection.sendall(byte)
        time.sleep(0.05)
    assert [client.post("/predict", json={"text": text}).status_code for text in EVERY_LENGTH] == [200] * len(EVERY_LENGTH)
    return [read_to_end(connection) for connection in connections]


def answers_to_closed_clients(client: httpx.Client) -> list[bytes]:
    """Close the client's side at all places of a request; return the answers. Only the last client has sent its complete request."""
    complete, answers = request_bytes("/predict/batch", json.dumps({"texts": EVERY_LENGTH * 8}).encode()), []
    file = request_bytes("/predict/file", b'{"text": "go', NDJSON, content_length="90")
    for sent in (b"", complete[:20], complete[:-500], complete[:-1], file):
        connection = connected(client)
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answers.append(read_to_end(connection))
    for sent in (complete[:-500], complete):
        connection = connected(client)
        connection.sendall(sent)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
        connection.close()
    connection = connected(client)
    connection.sendall(complete)
    connection.shutdown(socket.SHUT_WR)
    answers.append(read_to_end(connection))
    return answers


def statuses_beside_endless_headers(client: httpx.Client) -> set[int]:
    """Send headers that never end on eight connections; return the statuses that other requests get meanwhile."""
    connections = [connected(client) for _ in range(8)]
    for connection in connections:
        connection.sendall(b"GET /health HTTP/1.1\r\n" + b"X-A: a\r\n" * 2000)
    found = {client.post("/predict", json={"text": text}).status_code for text in EVERY_LENGTH}
    for connection in connections:
        connection.sendall(b"X-A: a\r\n" * 2000)
        connection.close()
    return found


ENDLESS_HEADS = {
    "headers": b"GET /health HTTP/1.1\r\n" + b"X-A: a\r\n" * 20_000,
    "a header": b"GET /health HTTP/1.1\r\nX-A: " + b"a" * 200_000,
    "a path": b"GET /" + b"a" * 200_000,
}


def send_endless_head(client: httpx.Client, head: bytes) -> None:
    """Send the beginning of a request again and again, until the server ends the connection."""
    with connected(client) as connection, contextlib.suppress(ConnectionError):
        for _ in range(50):
            connection.sendall(head)
        raise AssertionError("the server received all of it")
