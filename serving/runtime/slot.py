"""The bundle in use: loaded, checked, exchanged for another while requests go on, and taken back."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.inference.bundle import MANIFEST
from serving.inference.classifier import Classifier
from serving.inference.errors import BundleBroken
from serving.inference.hashing import file_sha256


class NothingBefore(Exception):
    """There is no bundle to go back to."""


@dataclass(frozen=True)
class LoadedBundle:
    """A loaded bundle. folder: where it came from. sha256: of the bundle as it was loaded, whatever comes into the folder later."""

    folder: Path
    classifier: Classifier
    sha256: str


def load(folder: Path, threads: int | None, cache: Path | None) -> LoadedBundle:
    """Load a bundle, which checks its files and its reference answers; raise BundleBroken where they are not as they should."""
    manifest = folder / MANIFEST
    try:
        before = file_sha256(manifest) if manifest.is_file() else ""
        classifier = Classifier.load(folder, threads=threads, cache=cache)
        after = file_sha256(manifest)
    except BundleBroken:
        raise
    except Exception as error:  # the tokenizer raises no narrower one, and no bundle may harm the one in use
        raise BundleBroken(f"{folder} cannot be loaded: {error}") from error
    if before != after:
        raise BundleBroken(f"{folder} has changed while it was read: try again")
    return LoadedBundle(folder, classifier, after)


class Slot:
    """Where the bundle in use stands, with the one before it. To be used in the event loop.

    load: reads a folder; raises BundleBroken. seen: is told which bundle answers now.
    """

    def __init__(self, bundles: list[LoadedBundle], load: Callable[[Path], LoadedBundle], seen: Callable[[LoadedBundle], None]) -> None:
        self.bundles = bundles
        self._load = load
        self._seen = seen
        self._turn = asyncio.Lock()
        seen(self.current)

    @property
    def current(self) -> LoadedBundle:
        """The bundle in use."""
        return self.bundles[0]

    async def reload(self, folder: Path | None) -> LoadedBundle:
        """Load a folder, or the one in use again, beside the bundle in use; then put it in its place. Requests in work end with the old."""
        async with self._turn:
            return self._put(await asyncio.to_thread(self._load, folder or self.current.folder))

    async def rollback(self) -> LoadedBundle:
        """Put the bundle before in the place of the one in use, which becomes the one before."""
        async with self._turn:
            if len(self.bundles) == 1:
                raise NothingBefore
            return self._put(self.bundles[1])

    async def become(self, sha256: str, load: Callable[[], LoadedBundle]) -> LoadedBundle:
        """Serve a certain bundle: one that is here already, or what `load` gives."""
        async with self._turn:
            here = [served for served in self.bundles if served.sha256 == sha256]
            return self._put(here[0] if here else await asyncio.to_thread(load))

    def _put(self, served: LoadedBundle) -> LoadedBundle:
        """Exchange the bundle in use. The same one, read again, leaves the one before where it is."""
        self.bundles = [served, *(other for other in self.bundles if other.sha256 != served.sha256)][:2]
        self._seen(served)
        return served
