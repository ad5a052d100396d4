"""Several worker processes, one bundle: a folder holds the state that all follow.

wanted.json names the bundle in use and the one before, with an id that is new at each change; bundles/ holds copies of both, for
workers that start late; <pid>.reached holds the id of the change that a worker has reached.
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
from serving.runtime.slot import LoadedBundle, Slot

log = logging.getLogger("uvicorn.error")

LOOK_SECONDS = 0.2  # between two looks at the state
FOLLOW_SECONDS = 60  # all workers have to load a bundle in


class Busy(Exception):
    """Another change is under way."""


class NotFollowed(Exception):
    """A worker has not come along; the text says why."""


class _Wanted(NamedTuple):
    """change: its id. bundles: folder and sha256 of the one in use and of the one before."""

    change: str
    bundles: list[tuple[Path, str]]


class Workers:
    """This worker among the others. folder: of the state, made for one run of the server. load: reads a bundle."""

    def __init__(self, folder: Path, load: Callable[[Path], LoadedBundle]) -> None:
        self._copies = folder / "bundles"
        try:
            self._copies.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BundleBroken(f"SENTIMENT_STATE is {folder}, which cannot be a folder here: {error.strerror}") from error
        self._load = load
        self._wanted_file = folder / "wanted.json"
        self._lock_file = folder / "lock"
        self._own_file = folder / f"{os.getpid()}.reached"
        self._change = ""

    def start(self, default: Path) -> list[LoadedBundle]:
        """Load what the others serve, and what they served before; the first worker loads `default`."""
        self._reached("")  # from here on a change waits for this worker
        wanted = self._wanted()
        if wanted is None:
            with self._lock():
                wanted = self._wanted()
                if wanted is None:
                    served = self.load(default)
                    self._want([served])
                    return [served]
        bundles = [self._load_again(*wanted.bundles[0])]
        with suppress(BundleBroken):
            bundles += [self._load_again(*before) for before in wanted.bundles[1:]]
        self._reached(wanted.change)
        return bundles

    def leave(self) -> None:
        """Say that this worker answers no more."""
        self._own_file.unlink(missing_ok=True)

    def load(self, folder: Path) -> LoadedBundle:
        """Load a bundle and keep a copy, so that every worker can load it whatever comes into the folder later."""
        served, draft = self._load(folder), self._copies / f"{os.getpid()}.draft"
        if not (self._copies / served.sha256).exists():
            try:
                shutil.copytree(folder, draft)
                if read_bundle(draft).sha256 != served.sha256:
                    raise BundleBroken(f"{folder} has changed while it was read: try again")
                draft.rename(self._copies / served.sha256)
            except OSError as error:
                raise BundleBroken(f"{folder} cannot be copied for the other workers: {error}") from None
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        return served

    async def follow(self, slot: Slot) -> None:
        """Serve what the state wants, whenever it changes."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            wanted = self._wanted()
            if wanted is None or wanted.change == self._change:
                continue
            folder, sha256 = wanted.bundles[0]
            try:
                await slot.become(sha256, partial(self._load_again, folder, sha256))
            except BundleBroken as error:
                log.error("this worker goes on with the bundle before: %s", error)
                self._reached(wanted.change, str(error))
            else:
                self._reached(wanted.change)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the right to change the bundle; raise Busy where another worker has it."""
        try:
            with self._lock(fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise Busy from None

    async def lead(self, slot: Slot) -> None:
        """Have all others serve what this worker serves; raise NotFollowed where one cannot."""
        change = self._want(slot.bundles)
        try:
            async with asyncio.timeout(FOLLOW_SECONDS):
                while any(reached != change for reached, _ in self._living()):
                    await asyncio.sleep(LOOK_SECONDS / 4)
        except TimeoutError:
            raise NotFollowed(f"not all workers have followed in {FOLLOW_SECONDS} seconds") from None
        for _, error in self._living():
            if error:
                raise NotFollowed(f"a worker could not follow: {error}")
        for copy in self._copies.iterdir():
            if copy.name not in {served.sha256 for served in slot.bundles}:
                shutil.rmtree(copy, ignore_errors=True)

    def _load_again(self, folder: Path, sha256: str) -> LoadedBundle:
        """Load what another worker has loaded: from its folder, or from the copy where the folder has changed."""
        with suppress(BundleBroken):
            served = self._load(folder)
            if served.sha256 == sha256:
                return served
        return replace(self._load(self._copies / sha256), folder=folder)

    def _living(self) -> Iterator[tuple[str, str]]:
        """Yield the change that each living worker has reached, and why it could not follow."""
        for file in self._own_file.parent.glob("*.reached"):
            if not is_alive(int(file.stem)):
                file.unlink(missing_ok=True)  # it was killed
                continue
            with suppress(FileNotFoundError):  # it has just ended
                change, _, error = file.read_text("utf-8", "replace").partition("\n")
                yield change, error

    def _wanted(self) -> _Wanted | None:
        """Return what the state wants; None where nothing is wanted yet, or the file is damaged: the next change writes it anew."""
        try:
            wanted = json.loads(self._wanted_file.read_text("utf-8"))
            bundles = [(Path(folder), sha256) for folder, sha256 in wanted["bundles"]]
            return _Wanted(wanted["change"], bundles) if bundles else None
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def _want(self, bundles: list[LoadedBundle]) -> str:
        """Have the state want what this worker serves; return the id of the change."""
        change = uuid.uuid4().hex
        self._reached(change)
        wanted = {"change": change, "bundles": [(str(served.folder), served.sha256) for served in bundles]}
        _write(self._wanted_file, json.dumps(wanted))
        return change

    def _reached(self, change: str, error: str = "") -> None:
        self._change = change
        _write(self._own_file, f"{change}\n{error}")

    @contextmanager
    def _lock(self, mode: int = 0) -> Iterator[None]:
        with self._lock_file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | mode)
            yield


def _write(file: Path, content: str) -> None:
    draft = file.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(content, "utf-8")
    draft.replace(file)
