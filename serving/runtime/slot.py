"""The bundle in use. A folder comes in; its bundle is loaded, checked and exchanged while requests run, or the previous one comes back."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.inference.bundle import MANIFEST, REBUILD
from serving.inference.classifier import Classifier
from serving.inference.errors import BundleBroken
from serving.inference.hashing import file_sha256


class NoPreviousBundle(Exception):
    """There is no bundle to go back to."""


@dataclass(frozen=True)
class LoadedBundle:
    """A bundle in memory. folder: where it was read. sha256: of the bundle as it was read, whatever the folder holds later."""

    folder: Path
    classifier: Classifier
    sha256: str


def bundle_changed(folder: Path) -> BundleBroken:
    """Return the error for a folder that changed while the server read it."""
    return BundleBroken(f"{folder} changed while the server read it: try again")


def load_bundle(folder: Path, threads: int | None, cache: Path | None) -> LoadedBundle:
    """Load a bundle and check its files and its reference answers; raise BundleBroken if a check fails."""
    manifest = folder / MANIFEST
    try:
        before = file_sha256(manifest) if manifest.is_file() else ""
        classifier = Classifier.load(folder, threads=threads, cache=cache)
        after = file_sha256(manifest)
    except BundleBroken:
        raise
    except Exception as error:  # the tokenizer raises no narrower class, and no broken bundle may stop the one in use
        raise BundleBroken(f"{folder} cannot be loaded ({error}): {REBUILD}") from error
    if before != after:
        raise bundle_changed(folder)
    return LoadedBundle(folder, classifier, after)


class Slot:
    """Holds the bundle in use and the previous one. Use it in the event loop only.

    bundles: the one in use, then the previous one if there is one. load: reads a folder; raises BundleBroken.
    on_change: called with the bundle in use, at the start and after each change.
    """

    def __init__(
        self, bundles: list[LoadedBundle], load: Callable[[Path], LoadedBundle], on_change: Callable[[LoadedBundle], None]
    ) -> None:
        self.bundles = bundles
        self._load = load
        self._on_change = on_change
        self._lock = asyncio.Lock()  # one change at a time
        on_change(self.current)

    @property
    def current(self) -> LoadedBundle:
        """The bundle in use."""
        return self.bundles[0]

    async def reload(self, folder: Path | None) -> LoadedBundle:
        """Load a folder (None: the one in use) beside the bundle in use, then exchange the two. Running requests end with the old one."""
        async with self._lock:
            return self._exchange(await asyncio.to_thread(self._load, folder or self.current.folder))

    async def rollback(self) -> LoadedBundle:
        """Exchange the bundle in use and the previous one; raise NoPreviousBundle if there is none."""
        async with self._lock:
            if len(self.bundles) == 1:
                raise NoPreviousBundle
            return self._exchange(self.bundles[1])

    async def switch_to(self, sha256: str, load: Callable[[], LoadedBundle]) -> LoadedBundle:
        """Use the bundle with this sha256: one of the two in memory, or else what `load` returns."""
        async with self._lock:
            in_memory = [loaded for loaded in self.bundles if loaded.sha256 == sha256]
            return self._exchange(in_memory[0] if in_memory else await asyncio.to_thread(load))

    def _exchange(self, loaded: LoadedBundle) -> LoadedBundle:
        """Use a bundle. If it equals the one in use, the previous one stays the previous one."""
        self.bundles = [loaded, *(other for other in self.bundles if other.sha256 != loaded.sha256)][:2]
        self._on_change(loaded)
        return loaded
