"""The bundle in use: loaded, checked, exchanged for another while requests go on, and taken back."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.inference.classifier import Classifier
from serving.inference.errors import BundleBroken
from serving.settings import Settings


class NothingBefore(Exception):
    """There is no bundle to go back to."""


@dataclass(frozen=True)
class Served:
    """A loaded bundle. folder: where it came from. sha256: of the bundle as it was loaded, whatever comes into the folder later."""

    folder: Path
    classifier: Classifier
    sha256: str


def load(folder: Path, settings: Settings) -> Served:
    """Load a bundle, which checks its files and its reference answers; raise BundleBroken where they are not as they should."""
    classifier = Classifier.load(folder, threads=settings.threads, cache=settings.cache)
    return Served(folder, classifier, classifier.bundle.sha256)


class Slot:
    """Where the bundle in use stands, with the one before it. To be used in the event loop. seen: is told which one answers now."""

    def __init__(self, served: Served, settings: Settings, seen: Callable[[Served], None]) -> None:
        self.current = served
        self._seen = seen
        self._before: Served | None = None
        self._settings = settings
        self._turn = asyncio.Lock()
        seen(served)

    async def reload(self, folder: Path | None) -> Served:
        """Load a folder, or the one in use again, beside the bundle in use; then put it in its place. Requests in work end with the old."""
        async with self._turn:
            served = await asyncio.to_thread(load, folder or self.current.folder, self._settings)
            self._put(served)
            return served

    async def rollback(self) -> Served:
        """Put the bundle before in the place of the one in use, which becomes the one before."""
        async with self._turn:
            if self._before is None:
                raise NothingBefore
            self._put(self._before)
            return self.current

    async def become(self, folder: Path, sha256: str) -> None:
        """Serve a certain bundle: the one before, or what the folder holds; raise BundleBroken where neither is it."""
        if self._before is not None and self._before.sha256 == sha256:
            await self.rollback()
            return
        async with self._turn:
            served = await asyncio.to_thread(load, folder, self._settings)
            if served.sha256 != sha256:
                raise BundleBroken(f"{folder} holds another bundle than a moment ago")
            self._put(served)

    def _put(self, served: Served) -> None:
        self._before, self.current = self.current, served
        self._seen(served)
