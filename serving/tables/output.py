"""The output of scored blocks: encoded blocks come in, and go to standard output or to a file that survives a kill.

The file grows as the draft `OUT.part`. The progress file `OUT.part.json` says how many of its bytes are safely on disk.
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

PROGRESS_EVERY = 1.0  # seconds between saves of the progress file: each save waits for the disk


class DraftBusy(CannotScore):
    """A draft that another process writes."""

    def __init__(self, draft: Path) -> None:
        super().__init__(f"another process writes {draft}: wait for it, or name another output file")


class DraftOfOtherRun(CannotScore):
    """A draft that this command cannot resume. changed: what differs from the run that started it."""

    def __init__(self, draft: Path, changed: list[str]) -> None:
        super().__init__(
            f"{draft} was started with another {' and '.join(changed)}: add --restart to start again, or name another output file"
        )


@dataclass
class Counts:
    """What an output contains: blocks, rows, rows with an error, and truncated texts."""

    blocks: int = 0
    rows: int = 0
    errors: int = 0
    truncated: int = 0


class Output(AbstractContextManager["Output"]):
    """An output of blocks. counts: of the blocks that it contains."""

    def __init__(self) -> None:
        self.counts = Counts()

    def __exit__(self, *_: object) -> None:
        """Remove a draft that nobody can resume."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Append a block. `counts` includes it already."""

    def commit(self, finish: Callable[[Path], Path]) -> None:
        """Publish the output after the last block. finish: makes the finished file from the draft."""


class StandardOutput(Output):
    """A pipe. Its reader gets each block at once."""

    def __init__(self) -> None:
        super().__init__()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end as `cat` does when the reader closes the pipe

    def write(self, data: bytes) -> None:
        write_all(sys.stdout.fileno(), data)


class DraftFile(Output):
    """A file that grows as a draft. identity: all that decides its content. None means that no later run can resume it."""

    def __init__(self, out: Path, identity: dict[str, Any] | None, *, restart: bool) -> None:
        super().__init__()
        self._out, self._identity = out, identity
        self._draft = out.with_name(f"{out.name}.part")
        self._progress = out.with_name(f"{out.name}.part.json")
        self._next_progress = out.with_name(f"{out.name}.part.json.draft")
        self._descriptor = self._open_locked()
        self._saved_at = time.monotonic()
        self._bytes = 0
        if not restart and (progress := self._read_progress()):
            started_with, self.counts, self._bytes = progress
            changed = ["input"] if identity is None else [name for name in identity if started_with.get(name) != identity[name]]
            if changed:
                raise DraftOfOtherRun(self._draft, changed)
        else:
            self._progress.unlink(missing_ok=True)
        os.ftruncate(self._descriptor, self._bytes)

    def __exit__(self, *error: object) -> None:
        if error[0] and not self._progress.exists():
            self._draft.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append a block, and save the progress if the last save is PROGRESS_EVERY seconds old."""
        write_all(self._descriptor, data)
        self._bytes += len(data)
        if self._identity is not None and time.monotonic() - self._saved_at >= PROGRESS_EVERY:
            self._save_progress()

    def commit(self, finish: Callable[[Path], Path]) -> None:
        """Move the finished file into its place."""
        os.fsync(self._descriptor)
        finished = finish(self._draft)
        finished.replace(self._out)
        for file in (self._progress, self._next_progress):
            file.unlink(missing_ok=True)
        if finished != self._draft:
            self._draft.unlink()

    def _open_locked(self) -> int:
        """Open the draft with a lock, or raise DraftBusy. The system drops the lock when the process ends in any way."""
        while True:
            descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DraftBusy(self._draft) from None
            if self._draft.exists() and os.path.samestat(os.fstat(descriptor), self._draft.stat()):
                return descriptor
            os.close(descriptor)  # another process has just moved this draft into its place

    def _read_progress(self) -> tuple[dict[str, Any], Counts, int] | None:
        """Return the saved identity, counts and bytes. Return None if the file is missing or damaged, or the draft is shorter."""
        try:
            saved = json.loads(self._progress.read_text("utf-8"))
            progress = dict(saved["identity"]), Counts(**saved["counts"]), int(saved["bytes"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return progress if self._draft.stat().st_size >= progress[2] else None

    def _save_progress(self) -> None:
        os.fsync(self._descriptor)
        with self._next_progress.open("w", encoding="utf-8") as stream:
            json.dump({"identity": self._identity, "counts": asdict(self.counts), "bytes": self._bytes}, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        self._next_progress.replace(self._progress)
        self._saved_at = time.monotonic()


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes without a buffer. After a full disk, Python would write a buffer once more when the process ends."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
