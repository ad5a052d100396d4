"""Several worker processes that serve one bundle. A worker writes the wanted bundle into a shared folder, and all workers follow it.

The folder holds these files:
- wanted.json names the bundle in use and the previous one, with an id that is new for each change.
- bundles/ has a copy of each of the two, for workers that start later.
- <pid>.reached has the id of the last change that a worker has reached, and its error if it could not follow.
"""

import asyncio
import fcntl
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from serving.inference.bundle import read_bundle
from serving.inference.errors import BundleBroken
from serving.processes import is_alive
from serving.runtime.slot import LoadedBundle, Slot, bundle_changed

log = logging.getLogger("uvicorn.error")

POLL_SECONDS = 0.2  # how often a worker reads wanted.json
FOLLOW_SECONDS = 60  # how long all workers may take to load a bundle


class ChangeInProgress(Exception):
    """Another worker is changing the bundle."""


class NotFollowed(Exception):
    """A worker does not serve the wanted bundle. reason: why it does not."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not all workers serve the new bundle: {reason}; repeat the request, or restart the server")


class _Wanted(NamedTuple):
    """The content of wanted.json. change: its id. bundles: folder and sha256 of the bundle in use and of the previous one."""

    change: str
    bundles: list[tuple[Path, str]]


class Workers:
    """This worker among the others. folder: the shared folder, a new one for each run of the server. load: reads a bundle."""

    def __init__(self, folder: Path, load: Callable[[Path], LoadedBundle]) -> None:
        self._copies = folder / "bundles"
        try:
            self._copies.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BundleBroken(
                f"SENTIMENT_STATE is {folder}, which cannot be a folder here ({error.strerror}): name a folder that the server can write"
            ) from error
        self._load = load
        self._wanted_file = folder / "wanted.json"
        self._lock_file = folder / "lock"
        self._reached_file = folder / f"{os.getpid()}.reached"
        self._change = ""

    def start(self, default: Path) -> list[LoadedBundle]:
        """Load the bundle that the others serve, and their previous one; the first worker loads `default`."""
        self._write_reached("")  # from now on a change waits for this worker
        wanted = self._read_wanted()
        if wanted is None:
            with self._lock():
                wanted = self._read_wanted()
                if wanted is None:
                    loaded = self.load(default)
                    self._write_wanted([loaded])
                    return [loaded]
        bundles = [self._load_wanted(*wanted.bundles[0])]
        with suppress(BundleBroken):
            bundles += [self._load_wanted(*previous) for previous in wanted.bundles[1:]]
        self._write_reached(wanted.change)
        return bundles

    def leave(self) -> None:
        """Tell the others that this worker has stopped."""
        self._reached_file.unlink(missing_ok=True)

    def load(self, folder: Path) -> LoadedBundle:
        """Load a bundle and keep a copy, so that every worker can load it, whatever the folder holds later."""
        loaded, draft = self._load(folder), self._copies / f"{os.getpid()}.draft"
        if not (self._copies / loaded.sha256).exists():
            try:
                shutil.copytree(folder, draft)
                if read_bundle(draft).sha256 != loaded.sha256:
                    raise bundle_changed(folder)
                draft.rename(self._copies / loaded.sha256)
            except OSError as error:
                raise BundleBroken(
                    f"{folder} cannot be copied for the other workers ({error}): free disk space or correct the permissions"
                ) from None
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        return loaded

    async def follow(self, slot: Slot) -> None:
        """Use the wanted bundle in this worker whenever it changes."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            wanted = self._read_wanted()
            if wanted is None or wanted.change == self._change:
                continue
            folder, sha256 = wanted.bundles[0]
            try:
                await slot.switch_to(sha256, partial(self._load_wanted, folder, sha256))
            except BundleBroken as error:
                log.error("this worker keeps its bundle, because it cannot load the new one: %s", error)
                self._write_reached(wanted.change, str(error))
            else:
                self._write_reached(wanted.change)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the right to change the bundle; raise ChangeInProgress if another worker has it."""
        try:
            with self._lock(fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise ChangeInProgress from None

    async def lead(self, slot: Slot) -> None:
        """Make all other workers serve the bundles of this one; raise NotFollowed if a worker cannot."""
        change = self._write_wanted(slot.bundles)
        try:
            async with asyncio.timeout(FOLLOW_SECONDS):
                while any(reached != change for reached, _ in self._living_workers()):
                    await asyncio.sleep(POLL_SECONDS / 4)
        except TimeoutError:
            raise NotFollowed(f"a worker has not loaded it in {FOLLOW_SECONDS} seconds") from None
        for _, error in self._living_workers():
            if error:
                raise NotFollowed(error)
        for copy in self._copies.iterdir():
            if copy.name not in {loaded.sha256 for loaded in slot.bundles}:
                shutil.rmtree(copy, ignore_errors=True)

    def _load_wanted(self, folder: Path, sha256: str) -> LoadedBundle:
        """Load a bundle that another worker has loaded: from its folder, or from the copy if the folder has changed."""
        with suppress(BundleBroken):
            loaded = self._load(folder)
            if loaded.sha256 == sha256:
                return loaded
        return replace(self._load(self._copies / sha256), folder=folder)

    def _living_workers(self) -> Iterator[tuple[str, str]]:
        """Yield for each living worker the change that it has reached, and its error ("": none)."""
        for file in self._reached_file.parent.glob("*.reached"):
            if not is_alive(int(file.stem)):
                file.unlink(missing_ok=True)  # the worker was killed
                continue
            with suppress(FileNotFoundError):  # the worker has just stopped
                change, _, error = file.read_text("utf-8", "replace").partition("\n")
                yield change, error

    def _read_wanted(self) -> _Wanted | None:
        """Return the content of wanted.json; None if it does not exist or is damaged. The next change writes it again."""
        try:
            wanted = json.loads(self._wanted_file.read_text("utf-8"))
            bundles = [(Path(folder), sha256) for folder, sha256 in wanted["bundles"]]
            return _Wanted(wanted["change"], bundles) if bundles else None
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def _write_wanted(self, bundles: list[LoadedBundle]) -> str:
        """Write the bundles of this worker into wanted.json; return the id of the change."""
        change = uuid.uuid4().hex
        self._write_reached(change)
        wanted = {"change": change, "bundles": [(str(loaded.folder), loaded.sha256) for loaded in bundles]}
        _write(self._wanted_file, json.dumps(wanted))
        return change

    def _write_reached(self, change: str, error: str = "") -> None:
        self._change = change
        _write(self._reached_file, f"{change}\n{error}")

    @contextmanager
    def _lock(self, mode: int = 0) -> Iterator[None]:
        with self._lock_file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | mode)
            yield


def _write(file: Path, content: str) -> None:
    draft = file.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(content, "utf-8")
    draft.replace(file)
