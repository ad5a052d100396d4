"""`GET /health`, `/ready`, `/model`, `/metrics`: what the process, its bundle and its counts are."""

from fastapi import APIRouter, HTTPException, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from serving.web.errors import BUSY, RETRY_AFTER
from serving.web.schemas import Health, Model, describe
from serving.web.state import server_of

routes = APIRouter()


@routes.head("/health", include_in_schema=False)
@routes.get("/health", summary="Tell that the process is alive")
async def health() -> Health:
    """Answer as long as the process lives."""
    return Health(status="ok")


@routes.head("/ready", include_in_schema=False)
@routes.get("/ready", responses=BUSY, summary="Tell that texts are answered")
async def ready(request: Request) -> Health:
    """Answer 200 once the bundle is loaded and until the server stops, else 503."""
    if not server_of(request).ready:
        raise HTTPException(503, "the server starts or stops", RETRY_AFTER)
    return Health(status="ready")


@routes.get("/model", summary="Describe the bundle that answers")
async def model(request: Request) -> Model:
    """Name the bundle, its engine in use and what it was made of."""
    return describe(server_of(request).slot.current)


@routes.get("/metrics", response_class=Response, summary="Show all counts to Prometheus")
async def metrics(request: Request) -> Response:
    """Show all series in Prometheus's text format."""
    return Response(server_of(request).monitor.page(), media_type=CONTENT_TYPE_LATEST)
