"""What every route may use, typed: one `Server` for each process, at `app.state.server`."""

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
    from serving.web.auth import Keys


@dataclass
class Server:
    """Parts of a running server. `lifespan` sets slot, batcher and workers when it starts.

    files: has a permit for each file that may be in work. workers: None where this is the only process.
    """

    settings: Settings
    monitor: Monitor
    keys: "Keys"
    files: asyncio.Semaphore
    slot: Slot = field(init=False)
    batcher: Batcher = field(init=False)
    workers: Workers | None = field(init=False, default=None)
    ready: bool = field(init=False, default=False)


def server_of(request: Request) -> Server:
    """Return the server that a request came to."""
    server: Server = request.app.state.server
    return server
