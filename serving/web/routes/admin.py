"""`POST /admin/reload` and `POST /admin/rollback`: exchange the bundle while requests run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import ValidationError

from serving.inference.errors import BundleBroken
from serving.runtime.slot import NoPreviousBundle, Slot
from serving.runtime.workers import ChangeInProgress, NotFollowed
from serving.web.auth import admin_key
from serving.web.bodies import read_body
from serving.web.errors import BAD_BODY, BAD_KEY, RETRY_AFTER, failure
from serving.web.schemas import Model, Reload, describe_bundle, request_body
from serving.web.state import server_of

REFUSED = (
    BAD_KEY
    | failure(403, "the key is not an admin key, or the server has none")
    | failure(409, "the server cannot use this bundle, and keeps the one in use")
    | failure(503, "a worker could not follow; see Retry-After")
)
BAD_FOLDER = BAD_BODY | failure(422, "the body has no usable folder")

routes = APIRouter(prefix="/admin", dependencies=[Depends(admin_key)], responses=REFUSED)


@routes.post(
    "/reload",
    responses=BAD_FOLDER,
    summary="Load another bundle, or the folder in use again",
    openapi_extra=request_body("application/json", model=Reload, required=False),
)
async def reload(request: Request) -> Model:
    """Load a bundle beside the one in use, check its files and reference answers, then exchange the two. No request is lost.

    With several workers, the answer comes when all of them use the new bundle.
    """
    try:
        folder = Reload.model_validate_json(await read_body(request) or "{}").folder
    except ValidationError:
        raise HTTPException(422, 'the body names no folder: send {"folder": "<bundle folder>"}, or nothing for the folder in use') from None
    async with _changing(request) as slot:
        loaded = await slot.reload(folder)
    return describe_bundle(loaded)


@routes.post("/rollback", summary="Restore the previous bundle")
async def rollback(request: Request) -> Model:
    """Exchange the bundle in use for the previous one, which is still in memory. A second rollback undoes the first."""
    async with _changing(request) as slot:
        loaded = await slot.rollback()
    return describe_bundle(loaded)


@asynccontextmanager
async def _changing(request: Request) -> AsyncIterator[Slot]:
    """Give the slot for a change, then make all workers follow; turn a failure into a status."""
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
        raise HTTPException(409, f"the server keeps the bundle in use: {error}") from None
    except NoPreviousBundle:
        raise HTTPException(409, "there is no previous bundle: reload another one first") from None
    except ChangeInProgress:
        raise HTTPException(409, "another change of the bundle is in progress: try again later") from None
    except NotFollowed as error:
        raise HTTPException(503, str(error), RETRY_AFTER) from None
