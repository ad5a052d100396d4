"""The application: settings -> a FastAPI app whose routes, middleware and life are put together here."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from serving.monitoring.metrics import Monitor
from serving.runtime.batching import Batcher
from serving.runtime.slot import LoadedBundle, Slot, load
from serving.runtime.workers import Workers
from serving.settings import Settings, settings_of_environment
from serving.web.access import Access, set_up_log
from serving.web.auth import KEY_SCHEMES, Keys
from serving.web.connections import Connection
from serving.web.errors import handle_errors
from serving.web.routes import admin, file, predict, status
from serving.web.state import Server
from serving.web.tracing import Traced, telemetry

log = logging.getLogger("uvicorn.error")


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
    app.add_middleware(Traced)
    app.add_middleware(Access, monitor=server.monitor)
    handle_errors(app)
    app.include_router(status.routes)
    for module in (predict, file):
        app.include_router(module.routes, dependencies=KEY_SCHEMES if settings.api_keys else None)
    app.include_router(admin.routes, dependencies=KEY_SCHEMES)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the bundle and start answering; at the end answer what was asked."""
    server: Server = app.state.server
    settings, monitor = server.settings, server.monitor
    set_up_log(lines=settings.access_log)
    Connection.head_seconds = settings.request_timeout
    read: Callable[[Path], LoadedBundle] = partial(load, threads=settings.threads, cache=settings.cache)

    def show(served: LoadedBundle) -> None:
        monitor.model(served.sha256, served.classifier.spec.name)

    following = None
    if settings.state:
        server.workers = Workers(settings.state, read)
        server.slot = Slot(server.workers.start(settings.model), server.workers.load, show)
        following = asyncio.create_task(server.workers.follow(server.slot))
    else:
        server.slot = Slot([read(settings.model)], read, show)
    if not settings.api_keys:
        log.warning("NO API KEY IS SET UP: anyone who reaches this server may have texts classified (SENTIMENT_API_KEYS)")
    server.batcher = Batcher(lambda: server.slot.current, settings.max_waiting, monitor.batch, monitor.wait)
    server.batcher.start()
    server.ready = True
    yield
    server.ready = False
    if server.workers and following:
        following.cancel()
        server.workers.leave()
    await asyncio.to_thread(server.batcher.stop)
    monitor.close()
