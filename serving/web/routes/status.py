"""`GET /health`, `/ready`, `/model` and `/metrics`: the state of the process, the bundle in use, and the metrics."""

from fastapi import APIRouter, HTTPException, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from serving.web.errors import BUSY, RETRY_AFTER
from serving.web.schemas import Health, Model, describe_bundle
from serving.web.state import server_of

routes = APIRouter()


@routes.head("/health", include_in_schema=False)
@routes.get("/health", summary="Check that the process is alive")
async def health() -> Health:
    """Answer as long as the process is alive."""
    return Health(status="ok")


@routes.head("/ready", include_in_schema=False)
@routes.get("/ready", responses=BUSY, summary="Check that the server can classify texts")
async def ready(request: Request) -> Health:
    """Answer 200 from the time when the bundle is loaded until the server stops, otherwise 503."""
    if not server_of(request).ready:
        raise HTTPException(503, "the server is starting or stopping: try again later", RETRY_AFTER)
    return Health(status="ready")


@routes.get("/model", summary="Describe the bundle in use")
async def model(request: Request) -> Model:
    """Name the bundle in use, its engine and what it was made of."""
    return describe_bundle(server_of(request).slot.current)


@routes.get("/metrics", response_class=Response, summary="Show the metrics for Prometheus")
async def metrics(request: Request) -> Response:
    """Show all series in the text format of Prometheus."""
    return Response(server_of(request).monitor.page(), media_type=CONTENT_TYPE_LATEST)
