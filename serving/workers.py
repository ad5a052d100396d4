"""Several worker processes, one bundle: a folder holds the state that all follow.

wanted.json names the bundle, with a number that grows by one at each change; <pid>.json holds the number that a worker has reached.
"""

import asyncio
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.inference.errors import BundleBroken
from serving.served import Served, Slot

log = logging.getLogger("uvicorn.error")

LOOK_SECONDS = 0.2  # between two looks at the state
FOLLOW_SECONDS = 60  # all workers have to load a bundle in


class Busy(Exception):
    """Another change is under way."""


class NotFollowed(Exception):
    """A worker has not come along; the text says why."""


@dataclass(frozen=True)
class _Wanted:
    number: int
    folder: str
    sha256: str


class Workers:
    """This worker among the others. folder: of the state, made for one run of the server."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._wanted_file = folder / "wanted.json"
        self._lock_file = folder / "lock"
        self._own_file = folder / f"{os.getpid()}.json"
        self._number = 0

    def folder_to_start(self, default: Path) -> Path:
        """Return the folder of the bundle that the others serve; `default` before the first change."""
        wanted = self._wanted()
        return Path(wanted.folder) if wanted else default

    def join(self, served: Served) -> None:
        """Say that this worker answers; raise BundleBroken where the folder no longer holds what the others serve."""
        wanted = self._wanted()
        if wanted and wanted.sha256 != served.sha256:
            raise BundleBroken(f"{served.folder} no longer holds the bundle that the other workers serve: restart the server")
        self._reached(wanted.number if wanted else 0)

    def leave(self) -> None:
        """Say that this worker answers no more."""
        self._own_file.unlink(missing_ok=True)

    async def follow(self, slot: Slot) -> None:
        """Serve what the state wants, whenever it changes."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            wanted = self._wanted()
            if wanted is None or wanted.number == self._number:
                continue
            try:
                await slot.become(Path(wanted.folder), wanted.sha256)
            except BundleBroken as error:
                log.error("this worker goes on with the bundle before: %s", error)
                self._reached(wanted.number, str(error))
            else:
                self._reached(wanted.number)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the right to change the bundle; raise Busy where another worker has it."""
        with self._lock_file.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy from None
            yield

    async def lead(self, served: Served) -> None:
        """Have all others serve what this worker serves; raise NotFollowed where one cannot."""
        before = self._wanted()
        wanted = _Wanted((before.number if before else 0) + 1, str(served.folder.absolute()), served.sha256)
        self._reached(wanted.number)
        _write(self._wanted_file, asdict(wanted))
        try:
            async with asyncio.timeout(FOLLOW_SECONDS):
                while any(number != wanted.number for number, _ in self._others()):
                    await asyncio.sleep(LOOK_SECONDS / 4)
        except TimeoutError:
            raise NotFollowed(f"not all workers have followed in {FOLLOW_SECONDS} seconds") from None
        for _, error in self._others():
            if error:
                raise NotFollowed(f"a worker could not follow: {error}")

    def _others(self) -> Iterator[tuple[int, str]]:
        """Yield number and error of each living worker."""
        for file in self._own_file.parent.glob("[0-9]*.json"):
            try:
                os.kill(int(file.stem), 0)
                reached = json.loads(file.read_text("utf-8"))
            except (ProcessLookupError, FileNotFoundError):
                continue  # it has ended, with or without a word
            yield reached["number"], reached["error"]

    def _wanted(self) -> _Wanted | None:
        try:
            return _Wanted(**json.loads(self._wanted_file.read_text("utf-8")))
        except FileNotFoundError:
            return None

    def _reached(self, number: int, error: str = "") -> None:
        self._number = number
        _write(self._own_file, {"number": number, "error": error})


def _write(file: Path, content: object) -> None:
    draft = file.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps(content), "utf-8")
    draft.replace(file)
