"""The state of a running server: settings, bundle, queue and workers come in at the start, and routes read them from `app.state.server`."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request

from serving.monitoring.metrics import Monitor
from serving.runtime.batching import Batcher
from serving.runtime.slot import Slot
from serving.runtime.workers import Workers
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.web.auth import Keys  # auth.py imports this module


@dataclass
class Server:
    """The parts of a server. `lifespan` sets slot, batcher and workers when the server starts.

    file_permits: one for each file that the server may classify at a time. workers: None if this is the only process.
    """

    settings: Settings
    monitor: Monitor
    keys: "Keys"
    file_permits: asyncio.Semaphore
    slot: Slot = field(init=False)
    batcher: Batcher = field(init=False)
    workers: Workers | None = field(init=False, default=None)
    ready: bool = field(init=False, default=False)


def server_of(request: Request) -> Server:
    """Return the server that received a request."""
    server: Server = request.app.state.server
    return server
