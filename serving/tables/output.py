"""Where scored blocks go: standard output, or a file that outlives a kill.

That grows as `OUT.part`; beside it `OUT.part.json` tells how far it is known to be good.
"""

import fcntl
import json
import os
import signal
import sys
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving.tables.blocks import CannotScore

RECORD_EVERY = 1.0  # seconds: waiting for the disk more often would cost speed


class PartBusy(CannotScore):
    """Another process writes the same file."""

    def __init__(self, part: Path) -> None:
        super().__init__(f"another process writes {part}: wait for it, or name another file")


class PartForeign(CannotScore):
    """A part that this command did not begin."""

    def __init__(self, part: Path, changed: list[str]) -> None:
        super().__init__(f"{part} was begun with another {' and '.join(changed)}: --restart begins anew, or name another file")


@dataclass
class Counts:
    """What stands in a file: blocks, their rows, those with an error, those cut at the model's length."""

    blocks: int = 0
    rows: int = 0
    errors: int = 0
    truncated: int = 0


class Output(AbstractContextManager["Output"]):
    """Where blocks go. counts: what went there already."""

    def __init__(self) -> None:
        self.counts = Counts()

    def __exit__(self, *_: object) -> None:
        """Leave nothing that is of no use."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Put a block, which is in `counts` already, behind the others."""

    def finish(self, whole: Callable[[Path], Path]) -> None:
        """Take the end. whole: makes the finished file of what was written."""


class StandardOutput(Output):
    """A pipe, which sees each block at once."""

    def __init__(self) -> None:
        super().__init__()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ends as `cat` does when nobody reads any more

    def write(self, data: bytes) -> None:
        write_all(sys.stdout.fileno(), data)


class Part(Output):
    """A growing file. identity: of all that decides what is in it; None where it cannot be gone on with."""

    def __init__(self, out: Path, identity: dict[str, Any] | None, *, restart: bool) -> None:
        super().__init__()
        self._out, self._identity = out, identity
        self._file = out.with_name(f"{out.name}.part")
        self._progress = out.with_name(f"{out.name}.part.json")
        self._draft = out.with_name(f"{out.name}.part.json.draft")
        self._descriptor = self._locked()
        self._recorded = time.monotonic()
        good = 0
        if not restart and (kept := self._kept()):
            begun_with, self.counts, good = kept
            changed = ["input"] if identity is None else [name for name in identity if begun_with.get(name) != identity[name]]
            if changed:
                raise PartForeign(self._file, changed)
        else:
            self._progress.unlink(missing_ok=True)
        os.ftruncate(self._descriptor, good)
        self._bytes = good

    def __exit__(self, *error: object) -> None:
        if error[0] and not self._progress.exists():
            self._file.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Put a block, which is in `counts` already, behind the others."""
        write_all(self._descriptor, data)
        self._bytes += len(data)
        if self._identity is not None and time.monotonic() - self._recorded >= RECORD_EVERY:
            self._record()

    def finish(self, whole: Callable[[Path], Path]) -> None:
        """Put the file, made whole, into its place."""
        os.fsync(self._descriptor)
        done = whole(self._file)
        done.replace(self._out)
        for record in (self._progress, self._draft):
            record.unlink(missing_ok=True)
        if done != self._file:
            self._file.unlink()

    def _locked(self) -> int:
        """Open the file alone, or raise PartBusy. The lock goes with the process, however that ends."""
        while True:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PartBusy(self._file) from None
            if self._file.exists() and os.path.samestat(os.fstat(descriptor), self._file.stat()):
                return descriptor
            os.close(descriptor)  # of a file that has just been moved into its place

    def _kept(self) -> tuple[dict[str, Any], Counts, int] | None:
        """Return identity, counts and bytes that were recorded, where the file has as much; else nothing is known to be good."""
        try:
            record = json.loads(self._progress.read_text("utf-8"))
            kept = dict(record["identity"]), Counts(**record["counts"]), int(record["bytes"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return kept if self._file.stat().st_size >= kept[2] else None

    def _record(self) -> None:
        os.fsync(self._descriptor)
        with self._draft.open("w", encoding="utf-8") as stream:
            json.dump({"identity": self._identity, "counts": asdict(self.counts), "bytes": self._bytes}, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        self._draft.replace(self._progress)
        self._recorded = time.monotonic()


def write_all(descriptor: int, data: bytes) -> None:
    """Write without a buffer, which would be written once more at the end of a process that has met a full disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
