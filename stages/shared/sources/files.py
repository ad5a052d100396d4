"""The files of a source: one file or a folder of shards, each plain or gzip.

In: the path of a source. Out: its shards, and the decompressed bytes of each as a stream that hashes the file while it is read.
"""

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


def shards_of(source: Path) -> list[Shard]:
    """Return the files of a source in the order of their names; raise FileUnreadable if there are none or of several kinds."""
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
    """Return the path as the disk stores it: macOS stores names decomposed (NFD), other systems composed (NFC)."""
    if file.exists() or file == file.parent:
        return file
    parent = as_stored(file.parent)
    if not parent.is_dir():
        return file
    wanted = unicodedata.normalize("NFC", file.name)
    return next((found for found in parent.iterdir() if unicodedata.normalize("NFC", found.name) == wanted), file)


def _shard(file: Path, within: Path | None = None) -> Shard:
    compressed = file.suffix.lower() == ".gz"
    suffix = (file.with_suffix("") if compressed else file).suffix.lower()
    if file.is_dir():
        raise FileUnreadable(file, "is a folder in a folder", "put all files into one folder")
    if file.exists() and not file.is_file():
        raise FileUnreadable(file, "is not a regular file", "copy its content into one")
    _refuse_strange_link(file, within)
    kind = KINDS.get(suffix)
    if kind is None:
        raise FileUnreadable(file, f"has the unknown file type '{suffix}'", f"give {KNOWN}")
    if compressed and kind in ("parquet", "xlsx"):
        raise FileUnreadable(file, f"is a compressed {suffix} file, a format that is already compressed", "decompress it")
    try:
        return Shard(file, kind, compressed, _state(file))
    except (FileNotFoundError, NotADirectoryError):
        raise FileUnreadable(file, "does not exist", "check its path") from None


def _refuse_strange_link(file: Path, within: Path | None = None) -> None:
    """Refuse a symbolic link out of the project on any part of the path.

    An archive from elsewhere may contain such a link. DVC's cache may be outside the project.
    """
    root, target = project_root().resolve(), file.resolve()
    in_project = Path(os.path.normpath(file.absolute())).is_relative_to(root)  # a path with .. may lead out of it
    if not file.is_symlink() and (not in_project or target.is_relative_to(root)):
        return
    allowed = [root, *([within.resolve()] if within else [])]
    if not any(target.is_relative_to(folder) for folder in allowed) and not target.is_relative_to(dvc_cache()):
        raise FileUnreadable(file, "is a symbolic link out of the project", "copy the file here, or name its own path in preprocess.source")


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
