"""Failures in one form: `{"detail": "<sentence>"}` in answers, and their descriptions in the OpenAPI document."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from serving.web.schemas import Failure

Failures = dict[int | str, dict[str, Any]]
RETRY_AFTER = {"Retry-After": "1"}  # seconds


def failure(status: int, description: str) -> Failures:
    """Describe a failure for the OpenAPI document."""
    return {status: {"model": Failure, "description": description}}


BODY_LATE = failure(408, "a body that comes too slowly")
BODY_LARGE = failure(413, "body too large")
BAD_BODY = BODY_LATE | BODY_LARGE | failure(415, "a content type that is not taken") | failure(422, "no usable text")
BUSY = failure(503, "too many texts wait, or not ready; see Retry-After")
TOO_OFTEN = failure(429, "the key has asked too often; see Retry-After")
NO_KEY = failure(401, "no valid API key, where one is needed") | TOO_OFTEN


def handle_errors(app: FastAPI) -> None:
    """Have the app answer every failure in this form."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _failed)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": str(error.errors()[0]["msg"])}, status_code=422)


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 408:
        headers["Connection"] = "close"  # else what comes of the body later keeps the connection open for good
    return JSONResponse({"detail": str(error.detail)}, status_code=error.status_code, headers=headers)
