"""`POST /predict/file`: a file of texts comes in, and its rows go out with their answers while the rest still arrives.

The server keeps only the rows that it is classifying, so a file may have any size. Single texts are classified before the rows of files.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from serving.runtime.batching import Answers
from serving.tables.formats import MEDIA_TYPES, rows_of
from serving.tables.labelled import AUTO
from serving.tables.rows import Row, Rows, RowsBroken, answer_columns, answers_of
from serving.web.auth import predict_key
from serving.web.bodies import content_type_of, text_problem
from serving.web.errors import BAD_KEY, BAD_TEXT, BUSY, RETRY_AFTER
from serving.web.schemas import file_body
from serving.web.state import server_of
from serving.web.uploads import FORMATS, SEND_A_FILE, Upload

log = logging.getLogger("uvicorn.error")

BATCH_ROWS = 32  # rows in one batch: a single text waits for at most this many
Classify = Callable[[list[str]], Awaitable[Answers]]
OTHER_CLASSES = "the server now has a model with other classes: send the rest again"
Column = Annotated[str, Query(description="name or number of the column or key with the texts; `auto`: found by its name or its values")]
Detail = Annotated[bool, Query(description="add class name, uncertain, truncated and the scores of all classes")]

routes = APIRouter(prefix="/predict", dependencies=[Depends(predict_key)], responses=BAD_TEXT | BUSY | BAD_KEY)


@routes.post(
    "/file",
    response_class=StreamingResponse,
    responses={200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
    openapi_extra=file_body(),
    summary="Classify a file of texts",
)
async def predict_file(request: Request, column: Column = AUTO, *, detail: Detail = False) -> Response:
    """Return the rows of a CSV, TSV or NDJSON file while they arrive, each with `label` and `score`, or with `error`.

    The server finds encoding, separator, header and column as training does. If you name the column, the first row has its answer at once.

    Read the answer while you send, as curl does. The server keeps nothing, so it reads the file only as fast as you read the answer.
    If something fails after the first row, the last row has an `error` that says so.
    """
    server = server_of(request)
    permits = server.file_permits
    if permits.locked():
        raise HTTPException(503, "too many files are in progress: try again later", RETRY_AFTER)
    await permits.acquire()

    async def classify(texts: list[str]) -> Answers:
        return await server.batcher.predict(texts, background=True)

    class_names = server.slot.current.classifier.bundle.class_names if detail else ()
    try:
        return await file_response(request, column, class_names, classify, permits.release)
    except BaseException:
        permits.release()
        raise


class DuplexResponse(StreamingResponse):
    """A response that is sent while the request is still read, so only its content may call `receive`.

    read_seconds: how long the client may leave the answer unread. on_end: called when the response ends, also after a failure.
    """

    def __init__(self, content: AsyncIterator[bytes], media_type: str, read_seconds: float, on_end: Callable[[], None]) -> None:
        super().__init__(content, media_type=media_type)
        self._read_seconds, self._on_end = read_seconds, on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._read_seconds):
                await send(message)

        try:
            await self.stream_response(send_in_time)
        except TimeoutError:
            log.warning("gave up a file: its client did not read the answer while it sent the file")
            await _abort_connection(receive)
        finally:
            self._on_end()


async def _abort_connection(receive: Receive) -> None:
    """End the connection at once. A normal close would wait for the client to read, and the server could not stop until then.

    ASGI has no message for this, so the code takes the transport from uvicorn's private `receive.__self__`.
    Under a server or middleware that hides the transport, the connection closes normally.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
        await asyncio.sleep(0)  # let the server notice


async def file_response(
    request: Request, column: str, class_names: Sequence[str], classify: Classify, on_end: Callable[[], None]
) -> DuplexResponse:
    """Return the response to an uploaded file; raise 408, 413, 415 or 422 if its first row cannot be read.

    class_names: for details, if they are wanted. classify: classifies texts when no other request waits.
    on_end: called when the response ends.
    """
    try:
        file_format, chunks = await _open_file(request)
        rows = rows_of(file_format, column, answer=answer_columns(class_names))
        lines = _answered_lines(request, rows, chunks, class_names, classify)
        first = await anext(lines)
    except RowsBroken as error:
        raise HTTPException(422, str(error)) from None
    except ClientDisconnect:
        raise HTTPException(
            400, "the file ended before its first row: send the request again"
        ) from None  # for the log: the client has left
    read_seconds = server_of(request).settings.request_timeout
    return DuplexResponse(_with_failure(first, lines, rows), f"{MEDIA_TYPES[file_format]}; charset=utf-8", read_seconds, on_end)


async def _with_failure(first: bytes, lines: AsyncIterator[bytes], rows: Rows) -> AsyncIterator[bytes]:
    """Yield all lines. A failure becomes the last line, because the status has already been sent."""
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
        yield rows.failure("no row follows: the server failed: send the rest again")
        raise


async def _answered_lines(
    request: Request, rows: Rows, chunks: AsyncIterator[bytes], class_names: Sequence[str], classify: Classify
) -> AsyncGenerator[bytes, None]:
    """Yield the header and the rows with their answers; raise RowsBroken or HTTPException after the last good row."""
    max_characters, started = server_of(request).settings.max_characters, False
    waiting: list[Row] = []

    async def answer_waiting() -> bytes:
        """Return the lines of the waiting rows, after the header at the first call; then no row waits."""
        nonlocal started
        problems = [row.problem or text_problem(row.text, max_characters) for row in waiting]
        predictions, loaded = await classify([str(row.text) for row, problem in zip(waiting, problems, strict=True) if not problem])
        if class_names and loaded.classifier.bundle.class_names != class_names:
            raise RowsBroken(OTHER_CLASSES)
        lines = [] if started else [rows.head()]
        lines += map(rows.line, waiting, answers_of(problems, predictions, class_names))
        started = True
        waiting.clear()
        return b"".join(lines)

    async def parts() -> AsyncGenerator[Iterator[Row], None]:
        """Yield the rows of each chunk, and those that waited for the end."""
        async for chunk in chunks:
            yield rows.feed(chunk)
        yield rows.end()

    failure = None
    try:
        async for part in parts():
            for row in part:
                waiting.append(row)
                if len(waiting) == BATCH_ROWS:
                    yield await answer_waiting()
            if waiting:
                yield await answer_waiting()
    except (RowsBroken, HTTPException) as error:
        if not (waiting or started):
            raise
        failure = error
    if waiting or not started:
        yield await answer_waiting()
    if failure:
        raise failure


async def _open_file(request: Request) -> tuple[str, AsyncIterator[bytes]]:
    """Return the format of the file and its chunks; raise 413, 415 or 422."""
    content_type = content_type_of(request)
    chunks = _limited_chunks(request)
    if content_type == "multipart/form-data":
        upload = Upload(request.headers["content-type"], chunks)
        return await upload.format(), upload.chunks()
    if content_type not in FORMATS:
        raise HTTPException(415, SEND_A_FILE)
    return FORMATS[content_type], chunks


async def _limited_chunks(request: Request) -> AsyncGenerator[bytes, None]:
    """Yield the body up to the limit of its size; raise 413 there, and 408 if the next chunk does not arrive in time."""
    settings = server_of(request).settings
    too_large = HTTPException(413, f"the file has more than {settings.max_file_bytes:,} bytes: send it in parts")
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
            raise HTTPException(408, f"the file paused for {settings.request_timeout:g} seconds: send it without a pause") from None
        size += len(chunk)
        if size > settings.max_file_bytes:
            yield chunk[: settings.max_file_bytes - size]
            raise too_large
        if chunk:
            yield chunk
