"""The files of a source: one file or a folder of shards, each plain or gzip, read as a stream that is hashed on its way."""

import gzip
import hashlib
import io
import os
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from stages.shared.errors import FileUnreadable
from stages.shared.project import dvc_cache, project_root

KINDS = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".txt": "delimited",
    ".tab": "delimited",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
}
KNOWN = "CSV, TSV, TXT, JSONL, JSON, Parquet or XLSX, the text formats also as .gz"
MAX_RATIO = 300  # bytes that one packed byte may hold: honest text stays under 50, a zip bomb has 1,000
FREE_BYTES = 64 * 2**20  # that may come out of any packed file


class State(NamedTuple):
    """What changes when a file does."""

    inode: int
    size: int
    changed: int


class Shard(NamedTuple):
    """One file of a source. packed: gzip."""

    file: Path
    kind: str
    packed: bool
    state: State


class ReadObserver(Protocol):
    """Who follows the reading of a file."""

    def read(self, size: int) -> None:
        """So many bytes more were read."""

    def ended(self, file: Path, sha256: str) -> None:
        """The file is read to its end."""


def shards_of(source: Path) -> list[Shard]:
    """Return the files of a source in the order of their names; raise FileUnreadable where there is none, or one of another kind."""
    source = as_stored(source)
    if not source.is_dir():
        return [_shard(source)]
    _refuse_strange_link(source)
    files = [file for file in source.iterdir() if not file.name.startswith(".") and file.suffix != ".dvc"]
    files.sort(key=lambda file: unicodedata.normalize("NFC", file.name))
    if not files:
        raise FileUnreadable(source, "is an empty folder", "put the files with the texts into it")
    shards = [_shard(file, within=source) for file in files]
    kinds = {shard.kind for shard in shards}
    if len(kinds) > 1:
        raise FileUnreadable(source, f"holds files of several kinds ({', '.join(sorted(kinds))})", "keep one kind in a folder")
    return shards


def as_stored(file: Path) -> Path:
    """Find a path whose names are stored decomposed (as macOS does) by its composed names, and the reverse."""
    if file.exists() or file == file.parent:
        return file
    parent = as_stored(file.parent)
    if not parent.is_dir():
        return file
    wanted = unicodedata.normalize("NFC", file.name)
    return next((found for found in parent.iterdir() if unicodedata.normalize("NFC", found.name) == wanted), file)


def _shard(file: Path, within: Path | None = None) -> Shard:
    packed = file.suffix.lower() == ".gz"
    suffix = (file.with_suffix("") if packed else file).suffix.lower()
    if file.is_dir():
        raise FileUnreadable(file, "is a folder in a folder", "put all files side by side")
    if file.exists() and not file.is_file():
        raise FileUnreadable(file, "is no regular file", "copy what it gives into one")
    _refuse_strange_link(file, within)
    kind = KINDS.get(suffix)
    if kind is None:
        raise FileUnreadable(file, f"has the unknown file type '{suffix}'", f"give {KNOWN}")
    if packed and kind in ("parquet", "xlsx"):
        raise FileUnreadable(file, f"is a packed {suffix} file, which is packed within already", "unpack it")
    try:
        return Shard(file, kind, packed, _state(file))
    except (FileNotFoundError, NotADirectoryError):
        raise FileUnreadable(file, "does not exist", "check its path") from None


def _refuse_strange_link(file: Path, within: Path | None = None) -> None:
    """Refuse a link out of the project, as an unpacked archive may hold one, on any part of the path; DVC's cache may lie elsewhere."""
    root, target = project_root().resolve(), file.resolve()
    in_project = Path(os.path.normpath(file.absolute())).is_relative_to(root)  # a path by .. leads beside it
    if not file.is_symlink() and (not in_project or target.is_relative_to(root)):
        return
    allowed = [root, *([within.resolve()] if within else [])]
    if not any(target.is_relative_to(folder) for folder in allowed) and not target.is_relative_to(dvc_cache()):
        raise FileUnreadable(file, "is a symbolic link out of the project", "copy the file here, or name its own path in preprocess.source")


@contextmanager
def opened(shard: Shard, watch: ReadObserver | None = None) -> "Iterator[Stream]":
    """Open a shard for reading its unpacked bytes; raise FileUnreadable where that is not possible.

    watch: is told of what is read, which is then read to the end; raises FileUnreadable where the file was changed meanwhile.
    """
    try:
        with shard.file.open("rb") as file:
            stream = Stream(shard, file, watch)
            yield stream
            if watch:
                watch.ended(shard.file, stream.finish())
    except PermissionError:
        raise FileUnreadable(shard.file, "may not be read", "change its rights") from None


class Stream(io.RawIOBase):
    """The unpacked bytes of a shard. done: bytes of the file that were read."""

    def __init__(self, shard: Shard, file: BinaryIO, watch: ReadObserver | None) -> None:
        self._shard = shard
        self._watch = watch
        self._hash = hashlib.sha256()
        self._file = file
        self._packed = gzip.GzipFile(fileobj=_HashingReader(self)) if shard.packed else None
        self.done = 0
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        data = self._unpack(len(buffer)) if self._packed else self.tapped(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def tapped(self, size: int = -1) -> bytes:
        """Read and hash bytes of the file as it is."""
        data = self._file.read(size)
        self._hash.update(data)
        self.done += len(data)
        if self._watch:
            self._watch.read(len(data))
        return data

    def finish(self) -> str:
        """Read what is left and return the sha256 of the file; raise FileUnreadable where it was changed meanwhile."""
        while self.tapped(2**20):
            pass
        if _state(self._file) != self._shard.state or _state(self._shard.file) != self._shard.state:
            raise FileUnreadable(self._shard.file, "was changed while it was read", "run again when nothing writes to it")
        return self._hash.hexdigest()

    def _unpack(self, size: int) -> bytes:
        assert self._packed
        try:
            data = self._packed.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FileUnreadable(self._shard.file, f"is no whole gzip file ({error})", "get it again") from None
        self._unpacked += len(data)
        if self._unpacked > FREE_BYTES + MAX_RATIO * self.done:
            raise FileUnreadable(
                self._shard.file, f"holds over {MAX_RATIO} times its size, as no honest text does", "unpack it by hand, and look at it"
            )
        return data


class _HashingReader(io.RawIOBase):
    """What GzipFile reads from: the file's own bytes, on their way hashed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        data = self._stream.tapped(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _state(file: BinaryIO | Path) -> State:
    found = file.stat() if isinstance(file, Path) else os.fstat(file.fileno())
    return State(found.st_ino, found.st_size, found.st_mtime_ns)
