"""`POST /predict/file`: a file of texts comes in and goes out again at the same time, row by row, each with its answer.

Nothing is kept of it but the rows in work, so its size does not matter; single requests go before it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from serving.inference.classifier import Predictions
from serving.tables.formats import MEDIA_TYPES, rows_of
from serving.tables.rows import Row, Rows, RowsBroken, answers_of
from serving.web.auth import predict_key
from serving.web.bodies import content_type_of, why_not
from serving.web.errors import BAD_BODY, BUSY, NO_KEY, RETRY_AFTER
from serving.web.schemas import file_body
from serving.web.state import server_of
from serving.web.uploads import KINDS, WANTED, Upload

log = logging.getLogger("uvicorn.error")

ROWS = 32  # answered at a time: a single request waits for no more
Classify = Callable[[list[str]], Awaitable[Predictions]]

routes = APIRouter(prefix="/predict", dependencies=[Depends(predict_key)], responses=BAD_BODY | BUSY | NO_KEY)


@routes.post(
    "/file",
    response_class=StreamingResponse,
    responses={200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
    openapi_extra=file_body(),
    summary="Classify a file of texts",
)
async def predict_file(
    request: Request, column: Annotated[str, Query(description="name of the texts' column or key")] = "text"
) -> Response:
    """Send the rows of a CSV, TSV or NDJSON file back as they come in, each with `label` and `score`, or with `error`.

    Read the answer while you send, as curl does: nothing is kept, so the server reads on only as fast as the answers are taken. A failure
    behind the first row comes as the last row, in `error`.
    """
    server = server_of(request)
    files = server.files
    if files.locked():
        raise HTTPException(503, "too many files are in work: try again", RETRY_AFTER)
    await files.acquire()

    async def classify(texts: list[str]) -> Predictions:
        return (await server.batcher.predict(texts, patient=True)).predictions

    try:
        return await answered_file(request, column, classify, files.release)
    except BaseException:
        files.release()
        raise


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


async def answered_file(request: Request, column: str, classify: Classify, done: Callable[[], None]) -> Duplex:
    """Return the response to an uploaded file; raise 408, 413, 415 or 422 where its first row cannot be read.

    classify: answers some texts when nobody else waits. done: called when the response is over.
    """
    try:
        kind, chunks = await _opened(request)
        rows = rows_of(kind, column)
        lines = _lines(request, rows, chunks, classify)
        first = await anext(lines)
    except RowsBroken as error:
        raise HTTPException(422, str(error)) from None
    except ClientDisconnect:
        raise HTTPException(400, "the file ended before its first row") from None  # for the log: nobody hears it
    patience = server_of(request).settings.request_timeout
    return Duplex(_told_to_the_end(first, lines, rows), f"{MEDIA_TYPES[kind]}; charset=utf-8", patience, done)


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


async def _lines(request: Request, rows: Rows, chunks: AsyncIterator[bytes], classify: Classify) -> AsyncGenerator[bytes, None]:
    """Yield the head, then the answered rows; raise RowsBroken behind the last good row."""
    limit, started = server_of(request).settings.max_characters, False
    waiting: list[Row] = []

    async def answered() -> bytes:
        """Answer the waiting rows; behind it none waits."""
        nonlocal started
        problems = [row.problem or why_not(row.text, limit) for row in waiting]
        predictions = await classify([str(row.text) for row, problem in zip(waiting, problems, strict=True) if not problem])
        lines = [] if started else [rows.head()]
        lines += map(rows.line, waiting, answers_of(problems, predictions))
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
        upload = Upload(request.headers["content-type"], chunks)
        return await upload.kind(), upload.chunks()
    if content_type not in KINDS:
        raise HTTPException(415, WANTED)
    return KINDS[content_type], chunks


async def _within_limits(request: Request) -> AsyncGenerator[bytes, None]:
    settings = server_of(request).settings
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
