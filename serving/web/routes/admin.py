"""Exchange the bundle while requests go on: `POST /admin/reload`, `POST /admin/rollback`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import ValidationError

from serving.inference.errors import BundleBroken
from serving.runtime.slot import NothingBefore, Slot
from serving.runtime.workers import Busy, NotFollowed
from serving.web.auth import admin_key
from serving.web.bodies import read_body
from serving.web.errors import BODY_LARGE, BODY_LATE, RETRY_AFTER, TOO_OFTEN, failure
from serving.web.schemas import Model, Reload, describe, request_body
from serving.web.state import server_of

REFUSED = (
    failure(401, "no valid API key")
    | failure(403, "no admin key, or none is set up")
    | failure(409, "the bundle cannot be served; the one in use stays")
    | TOO_OFTEN
    | failure(503, "a worker could not follow; see Retry-After")
)
BAD_FOLDER = BODY_LATE | BODY_LARGE | failure(422, "no usable folder")

routes = APIRouter(prefix="/admin", dependencies=[Depends(admin_key)], responses=REFUSED)


@routes.post(
    "/reload",
    responses=BAD_FOLDER,
    summary="Serve another bundle, or the same folder read again",
    openapi_extra=request_body("application/json", model=Reload, required=False),
)
async def reload(request: Request) -> Model:
    """Load a bundle beside the one in use, check its files and its reference answers, then exchange them; no request is lost.

    With several workers the answer comes when all of them serve it.
    """
    try:
        folder = Reload.model_validate_json(await read_body(request) or "{}").folder
    except ValidationError:
        raise HTTPException(422, 'send {"folder": "<bundle folder>"}, or nothing for the folder in use') from None
    async with _change(request) as slot:
        served = await slot.reload(folder)
    return describe(served)


@routes.post("/rollback", summary="Go back to the bundle before")
async def rollback(request: Request) -> Model:
    """Exchange the bundle in use for the one before it, which is still loaded; a second rollback undoes the first."""
    async with _change(request) as slot:
        served = await slot.rollback()
    return describe(served)


@asynccontextmanager
async def _change(request: Request) -> AsyncIterator[Slot]:
    """Give the slot to change, then have all workers follow; turn what goes wrong into a status."""
    server = server_of(request)
    slot, workers = server.slot, server.workers
    try:
        if workers is None:
            yield slot
        else:
            with workers.change():
                yield slot
                await workers.lead(slot)
    except BundleBroken as error:
        raise HTTPException(409, f"the bundle in use stays: {error}") from None
    except NothingBefore:
        raise HTTPException(409, "there is no bundle before this one") from None
    except Busy:
        raise HTTPException(409, "another change of the bundle is under way: try again") from None
    except NotFollowed as error:
        raise HTTPException(503, str(error), RETRY_AFTER) from None
