"""Files of texts, each plain or gzip.

In: the path of a file. Out: its kind, and its decompressed bytes as a stream that hashes the file while it is read.
"""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from serving.tables.errors import FileUnreadable

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
MAX_RATIO = 300  # decompressed bytes per compressed byte: real text stays under 50, a zip bomb has 1,000
FREE_BYTES = 64 * 2**20  # decompressed bytes that every file may have, whatever its ratio


class State(NamedTuple):
    """The properties that differ after a file was changed."""

    inode: int
    size: int
    changed: int


class Shard(NamedTuple):
    """One file of a source. compressed: by gzip."""

    file: Path
    kind: str
    compressed: bool
    state: State


class ReadObserver(Protocol):
    """An object that follows the reading of a file."""

    def read(self, size: int) -> None:
        """Note that `size` more bytes of the file were read."""

    def ended(self, file: Path, sha256: str) -> None:
        """Note that the file was read to its end."""


def ending_of(file: Path) -> str:
    """Return the ending of a file's name, without .gz."""
    return Path(file.name.lower().removesuffix(".gz")).suffix


def shard_of(file: Path, kind: str | None = None) -> Shard:
    """Return a file with its kind and state; raise FileUnreadable if it has no known kind or does not exist.

    kind: the kind, if the ending of the name does not tell it.
    """
    compressed, suffix = file.suffix.lower() == ".gz", ending_of(file)
    kind = kind or KINDS.get(suffix)
    if kind is None:
        raise FileUnreadable(file, f"has the unknown file type '{suffix}'", f"give {KNOWN}")
    if compressed and kind in ("parquet", "xlsx"):
        raise FileUnreadable(file, f"is a compressed {suffix} file, a format that is already compressed", "decompress it")
    try:
        return Shard(file, kind, compressed, _state(file))
    except (FileNotFoundError, NotADirectoryError):
        raise FileUnreadable(file, "does not exist", "check its path") from None


@contextmanager
def opened(shard: Shard, observer: ReadObserver | None = None) -> "Iterator[Stream]":
    """Open a shard for reading its decompressed bytes; raise FileUnreadable if the user may not read it.

    observer: if there is one, the shard is read to its end, and FileUnreadable is raised if the file changed meanwhile.
    """
    try:
        with shard.file.open("rb") as file:
            stream = Stream(shard, file, observer)
            yield stream
            if observer:
                observer.ended(shard.file, stream.finish())
    except PermissionError:
        raise FileUnreadable(shard.file, "cannot be read (permission denied)", "change its permissions") from None


class Stream(io.RawIOBase):
    """The decompressed bytes of a shard. done: how many bytes of the file were read."""

    def __init__(self, shard: Shard, file: BinaryIO, observer: ReadObserver | None) -> None:
        self._shard = shard
        self._observer = observer
        self._hash = hashlib.sha256()
        self._file = file
        self._gzip = gzip.GzipFile(fileobj=_HashingReader(self)) if shard.compressed else None
        self.done = 0
        self._decompressed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        data = self._decompress(len(buffer)) if self._gzip else self.read_raw(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read_raw(self, size: int = -1) -> bytes:
        """Read and hash bytes of the file, without decompressing them."""
        data = self._file.read(size)
        self._hash.update(data)
        self.done += len(data)
        if self._observer:
            self._observer.read(len(data))
        return data

    def finish(self) -> str:
        """Read the rest and return the sha256 of the file; raise FileUnreadable if the file changed since it was found."""
        while self.read_raw(2**20):
            pass
        if _state(self._file) != self._shard.state or _state(self._shard.file) != self._shard.state:
            raise FileUnreadable(self._shard.file, "was changed while it was read", "run again when no program writes to it")
        return self._hash.hexdigest()

    def _decompress(self, size: int) -> bytes:
        assert self._gzip
        try:
            data = self._gzip.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FileUnreadable(self._shard.file, f"is not a complete gzip file ({error})", "download it again") from None
        self._decompressed += len(data)
        if self._decompressed > FREE_BYTES + MAX_RATIO * self.done:
            raise FileUnreadable(
                self._shard.file,
                f"decompresses to over {MAX_RATIO} times its size, which no real text does",
                "decompress it and check its content",
            )
        return data


class _HashingReader(io.RawIOBase):
    """The file that GzipFile reads: it hashes the compressed bytes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        data = self._stream.read_raw(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _state(file: BinaryIO | Path) -> State:
    found = file.stat() if isinstance(file, Path) else os.fstat(file.fileno())
    return State(found.st_ino, found.st_size, found.st_mtime_ns)
