"""`POST /predict/file` of a real server process: files of any size, cut anywhere, and clients that stall, leave or do not read."""

import asyncio
import contextlib
import csv
import http.client
import io
import itertools
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from fastapi import Request

from serving.inference.classifier import Classifier, Predictions
from serving.inference.labels import label_name
from serving.runtime.batching import Answers
from serving.runtime.slot import LoadedBundle
from serving.settings import Settings
from serving.tables.labelled import MAX_CHARACTERS
from serving.web.routes.file import BATCH_ROWS, OTHER_CLASSES, Classify, file_response
from tests.docs.test_examples import example
from tests.running import run_command
from tests.serving.http import (
    AS_ADMIN,
    CSV,
    FIELD,
    FORM_DATA,
    NDJSON,
    SECRET,
    SMALL,
    TERMINATED,
    TSV,
    assert_refused,
    form,
    part,
    rows_of,
    send_file,
    server,
)

TEXTS = [
    f"the {thing} was {how} {number}"
    for number, (thing, how) in enumerate(
        itertools.product(["film", "food", "phone", "staff"], ["very good", "bad", "lovely", "awful"] * 5)
    )
]
LINES = [*TEXTS, 'she said "good", twice', "정말 좋아요 😍", "two\nlines of\r\nbad film", "tab\tand ; and |"]
SECONDS = "2"  # timeout of the servers whose clients stall
PAUSED = f"the file paused for {SECONDS} seconds: send it without a pause"


@pytest.fixture(scope="module")
def strict(tiny_bundle: Path) -> Iterator[httpx.Client]:
    """A client of a server that takes one file at a time, 100 kB and two seconds."""
    limits = {"SENTIMENT_MAX_FILES": "1", "SENTIMENT_MAX_FILE_BYTES": "100000", "SENTIMENT_REQUEST_TIMEOUT": SECONDS}
    with server(tiny_bundle, **limits) as (client, _):
        yield client


@pytest.fixture(scope="module")
def expected(tiny_bundle: Path) -> list[tuple[str, float]]:
    """The classifier's own answers to LINES."""
    predictions = Classifier.load(tiny_bundle, threads=1).predict(LINES)
    return list(zip(map(label_name, predictions.label_ids.tolist()), predictions.scores.tolist(), strict=True))


def file_of(media_type: str, rows: Iterable[tuple[object, ...]], names: tuple[str, ...] = ("id", "text")) -> bytes:
    if media_type == NDJSON:
        return "".join(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n" for row in rows).encode()
    table = io.StringIO(newline="")
    csv.writer(table, delimiter="\t" if media_type == TSV else ",").writerows([names, *rows])
    return table.getvalue().encode()


@contextmanager
def sending(
    client: httpx.Client, media_type: str = CSV, length: int | None = None, *, admitted: bool = False, query: str = "", **headers: str
) -> Iterator[socket.socket]:
    """A connection with the head of a request; its body follows in `framed` chunks. admitted: wait until the server reads the body."""
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    expect = "expect: 100-continue\r\n" if admitted else ""  # the server answers it when it reads the body
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /predict/file{query} HTTP/1.1\r\nhost: a\r\ncontent-type: {media_type}\r\n{size}\r\n{more}{expect}\r\n"
        connection.sendall(head.encode())
        if admitted:
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        yield connection


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def response_on(connection: socket.socket) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(connection, method="POST")
    response.begin()
    return response


@contextmanager
def uploading(
    client: httpx.Client, chunks: Iterable[bytes], media_type: str = CSV
) -> "Iterator[tuple[http.client.HTTPResponse, Future[None]]]":
    """The answer to a file, which a thread sends chunk by chunk at the same time."""

    def send_all() -> None:
        with contextlib.suppress(ConnectionError):
            for chunk in chunks:
                connection.sendall(framed(chunk))
            connection.sendall(framed(b""))

    with sending(client, media_type) as connection, ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send_all)
        yield response_on(connection), sent


def wait_for_permit(client: httpx.Client) -> httpx.Response:
    """Send small files until the server accepts one."""
    for _ in range(600):
        answer = send_file(client, CSV, SMALL)
        if answer.status_code != 503:
            break
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize("size", [1, 7, 1000, None], ids=lambda size: f"{size or 'all'} bytes at a time")
@pytest.mark.parametrize("media_type", [CSV, TSV, NDJSON])
@pytest.mark.parametrize("wrapped", [False, True], ids=["raw", "form"])
def test_rows_come_back_with_the_classifiers_own_answers(
    client: httpx.Client, expected: list[tuple[str, float]], media_type: str, wrapped: bool, size: int | None
) -> None:
    rows = [(f"{number}", text) for number, text in enumerate(LINES) if media_type != TSV or "\n" not in text]  # in TSV a row is a line
    body = file_of(media_type, rows)
    if wrapped:
        ending = {CSV: "csv", TSV: "tsv", NDJSON: "jsonl"}[media_type]
        body = form(FIELD, part(body, f'form-data; name="file"; filename="리뷰 모음.{ending}"'), FIELD)
    chunks = [body[start : start + size] for start in range(0, len(body), size)] if size else [body]
    with uploading(client, chunks, FORM_DATA if wrapped else media_type) as (response, _):
        assert (response.status, response.headers["content-type"].partition(";")[0]) == (200, media_type)
        answered = rows_of(media_type, response.read())
    assert len(answered) > 2 * BATCH_ROWS
    assert [(row["id"], row["text"]) for row in answered] == rows
    wanted = [expected[int(number)] for number, _ in rows]
    assert [row["label"] for row in answered] == [label for label, _ in wanted]
    assert [float(row["score"]) for row in answered] == pytest.approx([score for _, score in wanted], abs=1e-4)
    assert not any(row.get("error") for row in answered)


def test_answers_come_while_the_file_is_sent(client: httpx.Client) -> None:
    with sending(client) as connection:
        connection.sendall(framed(b"text\ngood film\n"))
        response = response_on(connection)
        assert response.readline() == b"text,label,score,error\n"
        assert response.readline().startswith(b"good film,LABEL_")
        connection.sendall(framed(b"bad film\n"))
        assert response.readline().startswith(b"bad film,LABEL_")
        connection.sendall(framed(b"last film") + framed(b""))
        assert response.readline().startswith(b"last film,LABEL_")
        assert response.read() == b""


def test_column_may_have_any_name(client: httpx.Client) -> None:
    rows = rows_of(CSV, send_file(client, CSV, "번호,리뷰 글,text\n1,최고 film,x\n".encode(), "?column=리뷰 글").text)
    assert [(row["번호"], row["리뷰 글"], row["label"][:6]) for row in rows] == [("1", "최고 film", "LABEL_")]
    lines = send_file(client, NDJSON, '{"말": "good", "label": 1}'.encode(), "?column=말").text
    assert rows_of(NDJSON, lines)[0].keys() == {"말", "label", "predicted_label", "predicted_score"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp949", "utf-16"])
def test_encoding_separator_and_column_are_found(client: httpx.Client, encoding: str) -> None:
    table = "번호;한줄평;별점\n1;정말 최고의 영화였어요;5\n2;다시는 보고 싶지 않은 영화;5\n"
    answer = send_file(client, CSV, table.encode(encoding))
    assert answer.text.splitlines()[0] == "번호;한줄평;별점;label;score;error"
    rows = list(csv.DictReader(io.StringIO(answer.text), delimiter=";"))
    assert [row["한줄평"] for row in rows] == ["정말 최고의 영화였어요", "다시는 보고 싶지 않은 영화"]
    assert all(row["label"].startswith("LABEL_") for row in rows)


@pytest.mark.parametrize("media_type", [CSV, NDJSON])
def test_detail_adds_what_it_adds_for_one_text(client: httpx.Client, media_type: str) -> None:
    single = client.post("/predict?detail=true", json={"text": "good film"}).json()
    (row,) = rows_of(media_type, send_file(client, media_type, file_of(media_type, [(1, "good film")]), "?detail=true").text)
    assert (row["label"], row["class_name"]) == (single["label"], single["class_name"])
    assert {name: float(row[f"score_{name}"]) for name in single["scores"]} == pytest.approx(single["scores"], abs=1e-4)
    assert [str(row[name]) for name in ("uncertain", "truncated")] == [str(single[name]) for name in ("uncertain", "truncated")]


def test_file_ends_when_the_bundle_has_got_other_classes(admin: httpx.Client, other_bundle: Path) -> None:
    with sending(admin, query="?detail=true", **AS_ADMIN) as connection:
        connection.sendall(framed(b"text\ngood film\n"))
        response = response_on(connection)
        assert response.readline().startswith(b"text,label,score,class_name,uncertain,truncated,score_")
        assert response.readline().startswith(b"good film,LABEL_")
        assert admin.post("/admin/reload", json={"folder": str(other_bundle)}).status_code == 200
        connection.sendall(framed(b"bad film\n") + framed(b""))
        assert response.read().rstrip().endswith(f"no row follows: {OTHER_CLASSES}".encode())


def test_file_without_rows_has_an_answer_without_rows(client: httpx.Client) -> None:
    assert send_file(client, CSV, b"id,text\n").text == "id,text,label,score,error\n"
    assert send_file(client, NDJSON, b"").text == ""


BAD_CELLS = ["", " \t", "a\0b", "좋" * 20_001]
BAD_LINES = [
    *(json.dumps({"text": cell}) for cell in [*BAD_CELLS, None, 7, ["good"], {"text": "good"}]),
    '{"text": NaN}',
    '{"text": "\\ud800"}',
    '{"other": "good"}',
    '["text"]',
    "text",
    '{"text": "good"',
    '{"text": ' + "[" * 100_000,
]


@pytest.mark.parametrize("media_type", [CSV, NDJSON])
def test_bad_rows_get_an_error_message_and_the_others_get_answers(client: httpx.Client, media_type: str) -> None:
    if media_type == NDJSON:
        body = "".join(f'{{"text": "good film"}}\n{line}\n' for line in BAD_LINES)
    else:
        bad = [*(f'"{cell}"' for cell in BAD_CELLS), f"good,{SECRET}"]
        body = "text\n" + "".join(f"good film\n{cell}\n" for cell in bad)
    answer = send_file(client, media_type, body.encode())
    assert answer.status_code == 200
    rows = rows_of(media_type, answer.text.replace("\0", "\\0"))
    good, refused = rows[::2], rows[1::2]
    assert len(good) == len(refused) == len(BAD_LINES if media_type == NDJSON else bad)
    assert {row["text"] for row in good} == {"good film"}
    assert all(row["label"] and not row.get("error") for row in good)
    assert all(row["error"] and not row.get("label") for row in refused)
    assert not any(SECRET in row["error"] for row in refused)


secret = SECRET.encode()
REFUSED: dict[str, tuple[str, bytes, int, str]] = {
    "no type": ("", secret, 415, "text/csv"),
    "other type": ("application/json", b'{"text": "%s"}' % secret, 415, "text/csv"),
    "other file": (FORM_DATA, form(part(secret, f'form-data; name="file"; filename="{SECRET}.xlsx"')), 415, ".csv"),
    "nothing chosen": (FORM_DATA, form(part(b"", 'form-data; name="file"; filename=""')), 415, ".csv"),
    "no column": (CSV, b"%s,label\n7,1\n8,1\n" % secret, 422, "no column surely holds the texts: name it"),
    "empty": (CSV, b"", 422, "empty"),
    "blank": (TSV, b"\n\n", 422, "empty"),
    "empty in a form": (FORM_DATA, form(part(b"")), 422, "empty"),
    "no encoding": (CSV, b"text\n%s\x81\n" % secret, 422, "UTF-8"),
    "NDJSON of no encoding": (NDJSON, b'{"text": "%s\x81"}' % secret, 422, "UTF-8"),
    "first row over the limit": (CSV, b"text\n%s" % secret + b"a" * MAX_CHARACTERS, 422, f"{MAX_CHARACTERS:,}"),
    "open quote": (CSV, b'text\n"%s\ngood' % secret, 422, "quote"),
    "scored before": (CSV, b"text,label,predicted_label\n%s,1,1\n" % secret, 422, "scored before"),
    "no boundary": ("multipart/form-data", form(part(secret)), 422, "boundary"),
    "very long boundary": (f"multipart/form-data; boundary={'B' * 300}", form(part(secret)), 422, "boundary"),
    "other boundary": ("multipart/form-data; boundary=C", form(part(secret)), 422, "form"),
    "empty form": (FORM_DATA, b"", 422, "no file"),
    "form without parts": (FORM_DATA, b"--B--\r\n", 422, "no file"),
    "form without a file": (FORM_DATA, form(FIELD, part(secret, 'form-data; name="file"')), 422, "no file"),
    "broken head of a part": (FORM_DATA, b"--B\r\n%s\r\n\r\n" % secret, 422, "form"),
    "endless head of a part": (FORM_DATA, b"--B\r\nX: " + secret * 100_000, 422, "form"),
    "a thousand heads of a part": (FORM_DATA, b"--B\r\n" + b"X: %s\r\n" % secret * 1000, 422, "form"),
    "form that ends before a row": (FORM_DATA, part(b"text\n").removesuffix(b"\r\n"), 422, "middle"),
}


@pytest.mark.parametrize(("media_type", "body", "status", "word"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("cut", [False, True], ids=["at once", "in chunks"])
def test_file_whose_first_row_cannot_be_read_is_refused(
    client: httpx.Client, media_type: str, body: bytes, status: int, word: str, cut: bool
) -> None:
    chunks = iter([body[:40], body[40:60], body[60:]])
    assert_refused(send_file(client, media_type, chunks if cut else body), status, word)


@pytest.mark.parametrize(
    ("media_type", "body", "word"),
    [
        (CSV, b"text\ngood\n%s\x81\n" % secret, "UTF-8"),
        (NDJSON, b'{"text": "good"}\n{"text": "%s\x81"}\n' % secret, "UTF-8"),
        (CSV, b"text\ngood\n%s" % secret + b"a" * MAX_CHARACTERS, f"{MAX_CHARACTERS:,}"),
        (CSV, b'text\ngood\n"%s\n' % secret + b"a\n" * MAX_CHARACTERS, f"{MAX_CHARACTERS:,}"),
        (CSV, b'text\ngood\n"%s' % secret, "never closed"),
        (FORM_DATA, part(b"text\ngood\n%s" % secret).removesuffix(b"\r\n"), "middle of the file"),
        (FORM_DATA, part(b"text\ngood\n") + b"--B\r\n%s\r\n\r\n" % secret, "form"),
    ],
    ids=["CSV not UTF-8", "NDJSON not UTF-8", "long line", "long row", "open quote", "cut form", "broken form"],
)
def test_failure_after_the_first_row_becomes_the_last_row(client: httpx.Client, media_type: str, body: bytes, word: str) -> None:
    with uploading(client, [body], media_type) as (response, _):
        assert response.status == 200
        rows = rows_of(NDJSON if media_type == NDJSON else CSV, response.read())
    assert rows[0]["text"] == "good"
    assert rows[0]["label"]
    assert rows[-1]["error"].startswith("no row follows: ")
    assert word in rows[-1]["error"]
    assert SECRET not in rows[-1]["error"]


def test_file_over_the_limit_is_refused_by_its_length_before_it_is_read(strict: httpx.Client) -> None:
    with sending(strict, length=10**12) as connection:
        response = response_on(connection)
        assert (response.status, list(json.loads(response.read()))) == (413, ["detail"])
    assert wait_for_permit(strict).status_code == 200


@pytest.mark.parametrize("media_type", [CSV, FORM_DATA])
def test_file_that_grows_over_the_limit_is_answered_up_to_there(strict: httpx.Client, media_type: str) -> None:
    body = part(b"text\n").removesuffix(b"\r\n") if media_type == FORM_DATA else b"text\n"
    with uploading(strict, [body, *[b"good film\n" * 1000] * 20], media_type) as (response, _):
        rows = rows_of(CSV, response.read())
    assert rows[-1]["error"] == "no row follows: the file has more than 100,000 bytes: send it in parts"
    assert len(rows) - 1 == (100_000 - len(body)) // 10
    assert all(row["text"] == "good film" and row["label"] for row in rows[:-1])
    assert wait_for_permit(strict).status_code == 200


def test_client_that_stalls_gets_408_or_a_last_row(strict: httpx.Client) -> None:
    with sending(strict) as connection:
        connection.sendall(framed(b"text\n"))
        response = response_on(connection)
        assert (response.status, list(json.loads(response.read()))) == (408, ["detail"])
    with sending(strict, FORM_DATA) as connection:
        connection.sendall(framed(part(b"text\ngood film\n")[:-2]))
        response = response_on(connection)
        rows = rows_of(CSV, response.read())
    assert [(row["text"], row["error"]) for row in rows] == [("good film", ""), ("", f"no row follows: {PAUSED}")]
    assert wait_for_permit(strict).status_code == 200


def test_one_file_too_many_gets_503_and_a_client_that_leaves_returns_its_permit(
    tiny_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with server(tiny_bundle, SENTIMENT_MAX_FILES="1") as (client, _):
        for sent in (b"", b"te", b"text\n", b"text\ngood film\n"):
            with sending(client, admitted=True) as connection:
                if sent:
                    connection.sendall(framed(sent))
                answer = send_file(client, CSV, SMALL)
                assert_refused(answer, 503, "too many files")
                assert answer.headers["retry-after"] == "1"
                assert client.post("/predict", json={"text": "good"}).status_code == 200
            assert wait_for_permit(client).status_code == 200
    assert "Traceback" not in capfd.readouterr().err


def test_connection_of_a_client_that_never_reads_is_aborted_and_nobody_waits_for_it(
    tiny_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with server(tiny_bundle, SENTIMENT_MAX_FILES="1", SENTIMENT_REQUEST_TIMEOUT=SECONDS) as (client, process), sending(client) as deaf:
        deaf.sendall(framed(b"text,note\n"))
        with contextlib.suppress(ConnectionError):  # until the server aborts the connection
            while True:
                deaf.sendall(framed(b"good film,%s\n" % (b"a" * 1000) * 32))
        assert wait_for_permit(client).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in TERMINATED
    errors = capfd.readouterr().err
    assert "gave up a file" in errors
    assert "Traceback" not in errors
    assert "ERROR" not in errors


def resident_kib(process: "subprocess.Popen[bytes]") -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{process.pid}/status").read_text("ascii"), re.MULTILINE)
    assert found
    return int(found.group(1))


def files_of(process: "subprocess.Popen[bytes]", folder: Path) -> list[str]:
    """Return all files that the process has open in a folder, also deleted ones."""
    found = []
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return [name for name in found if name.startswith(str(folder))]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not show the open files of a process")
@pytest.mark.parametrize("media_type", [CSV, FORM_DATA])
def test_file_of_any_size_needs_little_memory_and_single_texts_overtake_it(
    tiny_bundle: Path, tmp_path: Path, small_disk: dict[str, str], media_type: str
) -> None:
    (spool := tmp_path / "spool").mkdir()
    enough = threading.Event()
    row = b"the film was very good,%s\n" % (b"a" * 2000)

    def chunks() -> Iterator[bytes]:
        yield part(b"text,note\n").removesuffix(b"\r\n") if media_type == FORM_DATA else b"text,note\n"
        while not enough.is_set():
            yield row * 32
        yield b"\r\n--B--\r\n" if media_type == FORM_DATA else b""

    def read(size: int) -> int:
        return sum(len(response.read(65536)) for _ in range(size // 65536))

    with server(tiny_bundle, TMPDIR=str(spool), **small_disk) as (client, process):
        with uploading(client, filter(None, chunks()), media_type) as (response, sent):
            try:
                taken = read(10_000_000)
                before = resident_kib(process)
                for _ in range(30):
                    taken += read(1_000_000)
                    assert client.post("/predict", json={"text": "good"}).status_code == 200
                    assert not sent.done()
                    assert files_of(process, spool) == []
                grown = resident_kib(process) - before
            finally:
                enough.set()
            rest = response.read()
        assert not list(spool.iterdir())
    assert taken > 38_000_000
    assert rest.endswith(b",\n")
    assert b"no row follows" not in rest
    assert grown < 16 * 1024


@pytest.mark.parametrize("arrives", [True, False], ids=["rest arrives", "client stalls"])
def test_sigterm_waits_until_a_file_is_answered(tiny_bundle: Path, arrives: bool) -> None:
    with server(tiny_bundle, SENTIMENT_REQUEST_TIMEOUT="30" if arrives else SECONDS) as (client, process), sending(client) as connection:
        connection.sendall(framed(b"text\ngood film\n"))
        response = response_on(connection)
        assert response.readline() == b"text,label,score,error\n"
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionError):  # until the server accepts no new connection
            while True:
                socket.create_connection((client.base_url.host, client.base_url.port)).close()
                time.sleep(0.05)
        assert response.readline().startswith(b"good film,LABEL_")
        if arrives:
            connection.sendall(framed(b"bad film\n" * 1000) + framed(b""))
        last = response.read().decode().splitlines()
        assert process.wait(60) in TERMINATED
    assert len(last) == (1000 if arrives else 1)
    assert last[-1].startswith("bad film,LABEL_" if arrives else f",,,no row follows: {PAUSED}")


def test_connection_is_usable_after_a_file_and_after_a_refused_one(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=60) as connection:
        for body, status in ((SMALL, 200), (b"\n" * 100_000 + b"other\n" * 100_000, 422), (SMALL, 200)):
            head = f"POST /predict/file HTTP/1.1\r\nhost: a\r\ncontent-type: {CSV}\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            response = response_on(connection)
            assert response.status == status
            response.read()


def test_readmes_curl_commands_send_a_file(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_bytes(b"review\nthe film was good\n")
    for command in [line for line in example("upload.sh").splitlines() if line.startswith("curl")]:
        done = run_command("bash", "-c", command.replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/")), cwd=tmp_path)
        assert [(row["review"], row["label"][:6]) for row in rows_of(CSV, done.stdout)] == [("the film was good", "LABEL_")]


async def answers(texts: list[str]) -> Answers:
    """Answer LABEL_0 to each text, but fail on `fail`."""
    if "fail" in texts:
        raise MemoryError
    nothing = np.zeros(len(texts), bool)
    predictions = Predictions(nothing.astype(int), np.ones((len(texts), 2)), nothing, nothing, np.ones(len(texts), int))
    return Answers(predictions, LoadedBundle(sha256="", folder=Path(), classifier=None))


def respond(chunks: list[bytes], column: str, classify: Classify, sent: list[Any], on_end: Callable[[], None]) -> None:
    """Give the chunks of a CSV to the route without a server; add the messages that it sends to `sent`."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        app = SimpleNamespace(state=SimpleNamespace(server=SimpleNamespace(settings=Settings())))
        scope = {"type": "http", "method": "POST", "headers": [(b"content-type", CSV.encode())], "app": app}
        response = await file_response(Request(scope, receive), column, (), classify, on_end)
        await response(scope, receive, send)

    asyncio.run(ask())


def test_failure_of_the_server_becomes_the_last_row_and_returns_the_permit() -> None:
    sent, sent_at_end = [], []
    with pytest.raises(MemoryError):
        respond([b"text\ngood\n", b"fail\n"], "text", answers, sent, lambda: sent_at_end.append(len(sent)))
    assert [message.get("body") for message in sent[1:]] == [
        b"text,label,score,error\ngood,LABEL_0,1.0,\n",
        b",,,no row follows: the server failed: send the rest again\n",
    ]
    assert sent_at_end == [3]


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
@pytest.mark.parametrize("rows", [40, 990, 2000])
def test_no_batch_has_more_rows_than_a_single_text_may_wait_for(encoding: str, rows: int) -> None:
    """The rows wait for their column, and those in cp949 for their encoding too."""
    sizes, sent = [], []

    async def counted(texts: list[str]) -> Answers:
        sizes.append(len(texts))
        return await answers(texts)

    body = "".join(["id,said\n", *(f"{number},좋은 영화 {number}\n" for number in range(rows))]).encode(encoding)
    respond([body], "auto", counted, sent, lambda: None)
    answered = rows_of(CSV, b"".join(message.get("body", b"") for message in sent))
    assert [row["said"] for row in answered] == [f"좋은 영화 {number}" for number in range(rows)]
    assert (sum(sizes), max(sizes)) == (rows, BATCH_ROWS)
