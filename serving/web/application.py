"""The application: settings come in, and a FastAPI app with its routes, its middleware and its start and end goes out."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from serving.monitoring.metrics import Monitor
from serving.runtime.batching import Batcher
from serving.runtime.slot import LoadedBundle, Slot, load_bundle
from serving.runtime.workers import Workers
from serving.settings import Settings, read_settings
from serving.web.access import AccessMiddleware, set_up_log
from serving.web.auth import KEY_SCHEMES, Keys
from serving.web.connections import Connection
from serving.web.errors import failure, handle_errors
from serving.web.queries import known_query
from serving.web.routes import admin, file, home, predict, status
from serving.web.state import Server
from serving.web.tracing import TracingMiddleware, telemetry_settings

log = logging.getLogger("uvicorn.error")

VERSION = "0.2.0"  # of the project, as CHANGELOG.md and CITATION.cff say

TAGS = {  # groups of routes in /docs, in this order
    "Classify": "One text, several texts or a file.",
    "Status": "The process, the model and the metrics.",
    "Admin": "Exchange the model. Needs an admin key.",
}
CLASSIFY, STATUS, ADMIN = TAGS


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the app. It loads the bundle when it starts; a missing or damaged bundle stops the start with an error message."""
    settings = settings or read_settings()
    app = FastAPIOffline(
        redoc_url=None,
        title="Sentiment-Ops",
        version=VERSION,
        description="This server classifies texts by their sentiment, with the same model that was evaluated.",
        lifespan=lifespan,
        openapi_tags=[{"name": name, "description": description} for name, description in TAGS.items()],
        swagger_ui_parameters={"tryItOutEnabled": True, "defaultModelsExpandDepth": 0},
        dependencies=[Depends(known_query)],
        responses=failure(422, "a query parameter is unknown or has no usable value"),
        telemetry=telemetry_settings(),
    )
    keys = Keys(settings.api_keys, settings.rate_limit, settings.rate_burst)
    app.state.server = server = Server(settings, Monitor(), keys, asyncio.Semaphore(settings.max_files))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(TracingMiddleware)
    app.add_middleware(AccessMiddleware, monitor=server.monitor)
    handle_errors(app)
    for module in (predict, file):
        app.include_router(module.routes, tags=[CLASSIFY], dependencies=KEY_SCHEMES if settings.api_keys else None)
    for module in (home, status):
        app.include_router(module.routes, tags=[STATUS])
    app.include_router(admin.routes, tags=[ADMIN], dependencies=KEY_SCHEMES)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the bundle and start the queue; at the end, answer all requests in the queue."""
    server: Server = app.state.server
    settings, monitor = server.settings, server.monitor
    set_up_log(lines=settings.access_log)
    Connection.head_seconds = settings.request_timeout
    load: Callable[[Path], LoadedBundle] = partial(load_bundle, threads=settings.threads, cache=settings.cache)

    def show_bundle(loaded: LoadedBundle) -> None:
        monitor.set_bundle(loaded.sha256, loaded.classifier.spec.name)

    following = None
    if settings.state:
        server.workers = Workers(settings.state, load)
        server.slot = Slot(server.workers.start(settings.model), server.workers.load, show_bundle)
        following = asyncio.create_task(server.workers.follow(server.slot))
    else:
        server.slot = Slot([load(settings.model)], load, show_bundle)
    if not settings.api_keys:
        log.warning("NO API KEY IS SET: everyone who reaches this server can classify texts. Set SENTIMENT_API_KEYS to require a key")
    server.batcher = Batcher(lambda: server.slot.current, settings.max_waiting, monitor.count_batch, monitor.set_queue_length)
    server.batcher.start()
    server.ready = True
    yield
    server.ready = False
    if server.workers and following:
        following.cancel()
        server.workers.leave()
    await asyncio.to_thread(server.batcher.stop)
    monitor.close()
