"""`POST /predict/file`: a file of texts comes in and goes out again at the same time, row by row, each with its answer.

Nothing is kept of it but the rows in work, so its size does not matter; single requests go before it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MAX_BOUNDARY_LENGTH, MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from serving.bodies import content_type_of, settings_of, why_not
from serving.inference.classifier import Predictions
from serving.inference.labels import label_name
from serving.rows import ENDINGS, Row, Rows, RowsBroken, rows_of

log = logging.getLogger("uvicorn.error")

ROWS = 32  # answered at a time: a single request waits for no more
KINDS = {
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "tsv": "text/tab-separated-values; charset=utf-8", "ndjson": "application/x-ndjson"}
WANTED = "send text/csv, text/tab-separated-values, application/x-ndjson, or a form with a file that ends in .csv, .tsv, .ndjson or .jsonl"

Answer = Callable[[list[str]], Awaitable[Predictions]]


class Duplex(StreamingResponse):
    """A response that is sent while the request is read: nothing but its own content may take from `receive`.

    patience: seconds that the client may leave the answer unread. done: called at the end, whichever it is.
    """

    def __init__(self, content: AsyncIterator[bytes], media_type: str, patience: float, done: Callable[[], None]) -> None:
        super().__init__(content, media_type=media_type)
        self._patience, self._done = patience, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._patience):
                await send(message)

        try:
            await self.stream_response(send_in_time)
        except TimeoutError:
            log.warning("a file was given up: its client did not read the answer while it sent")
            await _cut(receive)
        finally:
            self._done()


async def _cut(receive: Receive) -> None:
    """End the connection at once: closed as usual, it would wait for its reader, and the server's own end for the connection.

    ASGI has no word for it; under a server or middleware that hides the transport, the connection is closed as usual.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
        await asyncio.sleep(0)  # until the server knows


async def answered_file(request: Request, column: str, answer: Answer, done: Callable[[], None]) -> Duplex:
    """Return the response to an uploaded file; raise 408, 413, 415 or 422 where its first row cannot be read.

    answer: classifies some texts when nobody else waits. done: called when the response is over.
    """
    try:
        kind, chunks = await _opened(request)
        rows = rows_of(kind, column)
        lines = _lines(request, rows, chunks, answer)
        first = await anext(lines)
    except RowsBroken as error:
        raise HTTPException(422, str(error)) from None
    except ClientDisconnect:
        raise HTTPException(400, "the file ended before its first row") from None  # for the log: nobody hears it
    return Duplex(_told_to_the_end(first, lines, rows), MEDIA_TYPES[kind], settings_of(request).request_timeout, done)


async def _told_to_the_end(first: bytes, lines: AsyncIterator[bytes], rows: Rows) -> AsyncIterator[bytes]:
    """Yield all lines; a failure, which no status can tell any more, becomes the last one."""
    yield first
    try:
        async for line in lines:
            yield line
    except RowsBroken as error:
        yield rows.failure(f"no row follows: {error}")
    except HTTPException as error:
        yield rows.failure(f"no row follows: {error.detail}")
    except ClientDisconnect:
        return
    except Exception:
        yield rows.failure("no row follows: the server failed")
        raise


async def _lines(request: Request, rows: Rows, chunks: AsyncIterator[bytes], answer: Answer) -> AsyncGenerator[bytes, None]:
    """Yield the head, then the answered rows; raise RowsBroken behind the last good row."""
    limit, started = settings_of(request).max_characters, False
    waiting: list[Row] = []

    async def answered() -> bytes:
        """Answer the waiting rows; behind it none waits."""
        nonlocal started
        lines = [] if started else [rows.head()]
        problems = [row.problem or why_not(row.text, limit) for row in waiting]
        predictions = await answer([str(row.text) for row, problem in zip(waiting, problems, strict=True) if not problem])
        found = iter(zip(predictions.label_ids.tolist(), predictions.scores.tolist(), strict=True))
        for row, problem in zip(waiting, problems, strict=True):
            if problem:
                lines.append(rows.refused(row, problem))
            else:
                label_id, score = next(found)
                lines.append(rows.answered(row, label_name(label_id), score))
        started = True
        waiting.clear()
        return b"".join(lines)

    broken = None
    try:
        async for chunk in chunks:
            for row in rows.feed(chunk):
                waiting.append(row)
                if len(waiting) == ROWS:
                    yield await answered()
            if waiting:
                yield await answered()
        waiting.extend(rows.end())
    except (RowsBroken, HTTPException) as error:
        if not (waiting or started):
            raise
        broken = error
    if waiting or not started:
        yield await answered()
    if broken:
        raise broken


async def _opened(request: Request) -> tuple[str, AsyncIterator[bytes]]:
    """Return the kind of the file and its chunks; raise 413, 415 or 422."""
    content_type = content_type_of(request)
    chunks = _within_limits(request)
    if content_type == "multipart/form-data":
        upload = _Upload(request.headers["content-type"], chunks)
        return await upload.kind(), upload.chunks()
    if content_type not in KINDS:
        raise HTTPException(415, WANTED)
    return KINDS[content_type], chunks


async def _within_limits(request: Request) -> AsyncGenerator[bytes, None]:
    settings = settings_of(request)
    too_large = HTTPException(413, f"the file has more than {settings.max_file_bytes:,} bytes")
    if int(request.headers.get("content-length", "0")) > settings.max_file_bytes:
        raise too_large
    size, stream = 0, aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(settings.request_timeout):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "the file did not come in time") from None
        size += len(chunk)
        if size > settings.max_file_bytes:
            yield chunk[: settings.max_file_bytes - size]
            raise too_large
        yield chunk


class _Upload:
    """The first file of a multipart form, as its chunks come."""

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        _, options = parse_options_header(content_type)
        self._chunks = chunks
        self._headers: dict[str, str] = {}
        self._name, self._value = b"", b""
        self._kind: str | None = None
        self._found: list[bytes] = []
        self._over = False
        self._broken = False
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= MAX_BOUNDARY_LENGTH:
            raise HTTPException(422, "the form has no usable boundary")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._on_end,
            },
        )

    async def kind(self) -> str:
        """Read until the file begins; return what it is."""
        async for chunk in self._chunks:
            self._parse(chunk)
            if self._kind is not None:
                return self._kind
            self._refuse_broken()
        raise HTTPException(422, "the form holds no file")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the content of the file; what follows it in the form is read and dropped."""
        while True:
            found, self._found = b"".join(self._found), []
            if found:
                yield found
            self._refuse_broken()
            try:
                self._parse(await anext(self._chunks))
            except StopAsyncIteration:
                if not self._over:
                    raise RowsBroken("the form ends in the middle of the file") from None
                return

    def _parse(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            self._broken = True  # what came before it is good

    def _refuse_broken(self) -> None:
        if self._broken:
            raise HTTPException(422, "the form cannot be read")

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", "").replace("filename*=", "filename="))
        name = options.get(b"filename")
        if name is None or self._kind is not None:
            return
        ending = "." + name.decode("latin-1").rpartition(".")[2].lower()
        kind = ENDINGS.get(ending) or KINDS.get(self._headers.get("content-type", "").partition(";")[0].strip().lower())
        if kind is None:
            raise HTTPException(415, WANTED)
        self._kind = kind

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._kind is not None and not self._over:
            self._found.append(data[start:end])

    def _on_end(self) -> None:
        self._over = self._over or self._kind is not None
