"""The HTTP server on a bundle: `uvicorn serving.app:app`.

Predictions run as batches in one thread of their own, so that the event loop stays free; create_app takes other settings for tests.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response, StreamingResponse

from serving.access import Access, set_up_log
from serving.admin import routes as admin_routes
from serving.batching import Answered, Batcher, Overloaded
from serving.bodies import read_text, read_texts, settings_of, why_not
from serving.connections import bound_connections
from serving.files import answered_file
from serving.inference.classifier import Predictions
from serving.inference.labels import label_name
from serving.keys import KEY_SCHEMES, Keys
from serving.monitoring import Monitor
from serving.rows import MEDIA_TYPES
from serving.schemas import (
    BatchPrediction,
    BatchRequest,
    DetailedPrediction,
    Failure,
    Health,
    Model,
    Prediction,
    PredictRequest,
    describe,
    file_body,
    request_body,
)
from serving.served import Served, Slot, load
from serving.settings import Settings, settings_of_environment
from serving.tracing import Traced, telemetry
from serving.workers import Workers

log = logging.getLogger("uvicorn.error")

BAD_BODY: dict[int | str, dict[str, Any]] = {
    413: {"model": Failure, "description": "body too large"},
    415: {"model": Failure, "description": "a content type that is not taken"},
    408: {"model": Failure, "description": "a body that comes too slowly"},
    422: {"model": Failure, "description": "no usable text"},
}
BUSY: dict[int | str, dict[str, Any]] = {503: {"model": Failure, "description": "too many texts wait, or not ready; see Retry-After"}}
NO_KEY: dict[int | str, dict[str, Any]] = {
    401: {"model": Failure, "description": "no valid API key, where one is needed"},
    429: {"model": Failure, "description": "the key has asked too often; see Retry-After"},
}
RETRY_AFTER = {"Retry-After": "1"}  # seconds
FORMS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")

Detail = Annotated[bool, Query(description="add class name, all scores, uncertain, truncated, request id, model")]
routes = APIRouter()


async def predict_key(request: Request) -> None:
    """Let through who may have texts classified."""
    request.app.state.keys.admit(request, "predict")


predict_routes = APIRouter(prefix="/predict", dependencies=[Depends(predict_key)], responses=BAD_BODY | BUSY | NO_KEY)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the server; the bundle is loaded when it starts, and a missing or damaged one stops the start with a sentence."""
    settings = settings or settings_of_environment()
    app = FastAPIOffline(
        redoc_url=None,
        title="Sentiment-Ops",
        description="Sentiment of texts, by the very model that was evaluated.",
        lifespan=lifespan,
        telemetry=telemetry(),
    )
    app.state.settings, app.state.monitor, app.state.ready = settings, Monitor(), False
    app.state.keys = Keys(settings.api_keys, settings.rate_limit, settings.rate_burst)
    app.state.files = asyncio.Semaphore(settings.max_files)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Traced)
    app.add_middleware(Access, monitor=app.state.monitor)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _failed)
    app.include_router(routes)
    app.include_router(predict_routes, dependencies=KEY_SCHEMES if settings.api_keys else None)
    app.include_router(admin_routes, dependencies=KEY_SCHEMES)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the bundle and start answering; at the end answer what was asked."""
    state, settings = app.state, app.state.settings
    set_up_log(lines=settings.access_log)
    bound_connections(settings.request_timeout)
    read: Callable[[Path], Served] = partial(load, settings=settings)
    state.workers = workers = Workers(settings.state, read) if settings.state else None
    if workers:
        state.slot = Slot(workers.start(settings.model), workers.load, state.monitor.model)
        following = asyncio.create_task(workers.follow(state.slot))
    else:
        state.slot, following = Slot([read(settings.model)], read, state.monitor.model), None
    if not settings.api_keys:
        log.warning("NO API KEY IS SET UP: anyone who reaches this server may have texts classified (SENTIMENT_API_KEYS)")
    state.batcher = Batcher(lambda: state.slot.current, settings.max_waiting, state.monitor.batch, state.monitor.wait)
    state.batcher.start()
    state.ready = True
    yield
    state.ready = False
    if workers and following:
        following.cancel()
        workers.leave()
    await asyncio.to_thread(state.batcher.stop)
    state.monitor.close()


@predict_routes.post(
    "",
    response_model=DetailedPrediction | Prediction,
    openapi_extra=request_body(*FORMS, model=PredictRequest),
    summary="Classify one text",
)
async def predict(request: Request, *, detail: Detail = False) -> Response:
    """Answer with `LABEL_<class id>` and the probability of that class."""
    answered = await _answer(request, [await read_text(request)])
    return JSONResponse(_result(request, answered, 0, detail=detail))


@predict_routes.post(
    "/batch",
    response_model=BatchPrediction,
    openapi_extra=request_body("application/json", model=BatchRequest),
    summary="Classify several texts",
)
async def predict_batch(request: Request, *, detail: Detail = False) -> Response:
    """Answer each text of `texts` in order; one that cannot be classified is reported at its place, the others are answered."""
    texts = await read_texts(request)
    problems = [why_not(text, settings_of(request).max_characters) for text in texts]
    answered = await _answer(request, [text for text, problem in zip(texts, problems, strict=True) if problem is None])
    rows = iter(range(len(answered.predictions.label_ids)))
    results = [{"error": problem} if problem else _result(request, answered, next(rows), detail=detail) for problem in problems]
    return JSONResponse({"results": results})


@predict_routes.post(
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
    files: asyncio.Semaphore = request.app.state.files
    if files.locked():
        raise HTTPException(503, "too many files are in work: try again", RETRY_AFTER)
    await files.acquire()
    batcher: Batcher = request.app.state.batcher

    async def classify(texts: list[str]) -> Predictions:
        return (await batcher.predict(texts, patient=True)).predictions

    try:
        return await answered_file(request, column, classify, files.release)
    except BaseException:
        files.release()
        raise


@routes.head("/health", include_in_schema=False)
@routes.get("/health", summary="Tell that the process is alive")
async def health() -> Health:
    """Answer as long as the process lives."""
    return Health(status="ok")


@routes.head("/ready", include_in_schema=False)
@routes.get("/ready", responses=BUSY, summary="Tell that texts are answered")
async def ready(request: Request) -> Health:
    """Answer 200 once the bundle is loaded and until the server stops, else 503."""
    if not request.app.state.ready:
        raise HTTPException(503, "the server starts or stops", RETRY_AFTER)
    return Health(status="ready")


@routes.get("/model", summary="Describe the bundle that answers")
async def model(request: Request) -> Model:
    """Name the bundle, its engine in use and what it was made of."""
    return describe(request.app.state.slot.current)


@routes.get("/metrics", response_class=Response, summary="Show all counts to Prometheus")
async def metrics(request: Request) -> Response:
    """Show all series in Prometheus's text format."""
    return Response(request.app.state.monitor.page(), media_type=CONTENT_TYPE_LATEST)


async def _answer(request: Request, texts: list[Any]) -> Answered:
    """Wait for the answers; raise 503 where the queue is full or the time is up."""
    batcher: Batcher = request.app.state.batcher
    try:
        async with asyncio.timeout(settings_of(request).request_timeout):
            return await batcher.predict(texts)
    except Overloaded:
        raise HTTPException(503, "too many texts wait for an answer: try again", RETRY_AFTER) from None
    except TimeoutError:
        raise HTTPException(503, "no answer in time: try again", RETRY_AFTER) from None


def _result(request: Request, answered: Answered, row: int, *, detail: bool) -> dict[str, Any]:
    predictions, served = answered
    names = served.classifier.bundle.class_names
    label_id = int(predictions.label_ids[row])
    scores = predictions.probabilities[row].tolist()
    result: dict[str, Any] = {"label": label_name(label_id), "score": scores[label_id]}
    if detail:
        result |= {
            "class_name": names[label_id],
            "scores": dict(zip(names, scores, strict=True)),
            "uncertain": bool(predictions.uncertain[row]),
            "truncated": bool(predictions.truncated[row]),
            "request_id": request.state.request_id,
            "model": served.sha256,
        }
    return result


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": str(error.errors()[0]["msg"])}, status_code=422)


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 408:
        headers["Connection"] = "close"  # else what comes of the body later keeps the connection open for good
    return JSONResponse({"detail": str(error.detail)}, status_code=error.status_code, headers=headers)


app = create_app()
