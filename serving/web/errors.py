"""Failures in one form: `{"detail": "<message>"}` as an answer, and their descriptions in the OpenAPI document."""

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
    example = {"application/json": {"example": {"detail": description}}}
    return {status: {"model": Failure, "description": description, "content": example}}


# What several routes describe. A description that one route file uses alone stands in that file.
BAD_KEY = failure(401, "no valid API key") | failure(429, "the key has sent too many requests; see Retry-After")
BAD_BODY = failure(408, "the body does not arrive in time") | failure(413, "the body is too large")
BAD_TEXT = BAD_BODY | failure(415, "the server does not take this content type") | failure(422, "the body has no usable text")
BUSY = failure(503, "too many texts wait, or the server is not ready; see Retry-After")


def handle_errors(app: FastAPI) -> None:
    """Make the app answer every failure in this form."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _failed)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return JSONResponse({"detail": f"{name}: {first['msg'].partition(',')[0]}: correct it"}, status_code=422)


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 408:
        headers["Connection"] = "close"  # otherwise the rest of the late body would keep the connection open forever
    return JSONResponse({"detail": str(error.detail)}, status_code=error.status_code, headers=headers)
