"""The HTTP server on a bundle: `uvicorn serving.app:app`.

A prediction runs in one thread of its own, so that the event loop stays free; create_app takes other settings for tests.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from serving.inference.classifier import Classifier
from serving.inference.labels import label_name
from serving.inference.text import clean_text
from serving.schemas import PREDICT_BODY, Failure, Health, Prediction, PredictRequest
from serving.settings import Settings

MAX_FIELDS = 20  # of a form; only `text` is read
FAILURES: dict[int | str, dict[str, object]] = {
    413: {"model": Failure, "description": "body too large"},
    415: {"model": Failure, "description": "neither JSON nor a form"},
    422: {"model": Failure, "description": "no usable text"},
}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the server; the bundle is loaded when it starts, and a missing or damaged one stops the start with a sentence."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.classifier = Classifier.load(settings.model, threads=settings.threads)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference") as app.state.inference:
            yield

    app = FastAPIOffline(
        redoc_url=None,
        title="Sentiment-Ops",
        description="Sentiment of texts, by the very model that was evaluated.",
        lifespan=lifespan,
    )
    app.state.settings = settings
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["GET", "POST"], allow_headers=["*"])
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _failed)
    app.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        response_model=Prediction,
        responses=FAILURES,
        openapi_extra={"requestBody": PREDICT_BODY},
        summary="Classify one text",
    )
    app.add_api_route("/health", health, methods=["GET"], response_model=Health, summary="Tell that the process is alive")
    return app


async def read_request(request: Request) -> PredictRequest:
    """Read the text from JSON or from a form, by the content type; raise 415 or 422."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if content_type == "application/json":
            return PredictRequest.model_validate_json(await read_body(request))
        if content_type == "application/x-www-form-urlencoded":
            fields = parse_qsl((await read_body(request)).decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
            return PredictRequest.model_validate(dict(fields))
        if content_type == "multipart/form-data":
            return PredictRequest.model_validate(await read_multipart(request))
    except ValidationError as error:
        raise HTTPException(422, _sentence(error)) from None
    except UnicodeDecodeError:
        raise HTTPException(422, "the body is not UTF-8") from None
    except MultiPartException as error:
        raise HTTPException(422, error.message) from None
    except ValueError:
        raise HTTPException(422, f"the form has more than {MAX_FIELDS} fields") from None
    raise HTTPException(415, "send application/json, application/x-www-form-urlencoded or multipart/form-data")


async def read_body(request: Request) -> bytes:
    """Read the body, or raise 413 as soon as it is too large."""
    limit, body = request.app.state.settings.max_body_bytes, bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, f"the body has more than {limit:,} bytes")
    return bytes(body)


async def read_multipart(request: Request) -> dict[str, object]:
    """Read the fields of a multipart form that is UTF-8 throughout and holds no file."""
    body = await read_body(request)
    body.decode()

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    form = await MultiPartParser(request.headers, chunks(), max_files=0, max_fields=MAX_FIELDS, max_part_size=len(body)).parse()
    return dict(form)


async def predict(request: Request, body: Annotated[PredictRequest, Depends(read_request)]) -> Prediction:
    """Answer with `LABEL_<class id>` and the probability of that class."""
    state = request.app.state
    if len(body.text) > state.settings.max_characters:
        raise HTTPException(422, f"text has more than {state.settings.max_characters:,} characters")
    if not clean_text(body.text):
        raise HTTPException(422, "text is empty")
    answer = await asyncio.get_running_loop().run_in_executor(state.inference, state.classifier.predict, [body.text])
    return Prediction(label=label_name(int(answer.label_ids[0])), score=float(answer.scores[0]))


async def health() -> Health:
    """Answer as long as the process lives."""
    return Health(status="ok")


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": str(error.errors()[0]["msg"])}, status_code=422)


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"detail": str(error.detail)}, status_code=error.status_code, headers=error.headers)


app = create_app()
