"""The files of a source: one file or a folder of shards.

In: the path of a source. Out: its shards. A link out of the project is refused.
"""

import os
import unicodedata
from pathlib import Path

from serving.tables.files import Shard, shard_of
from stages.shared.errors import FileUnreadable
from stages.shared.project import dvc_cache, project_root
from stages.shared.sources.errors import errors_of_readers


def shards_of(source: Path) -> list[Shard]:
    """Return the files of a source in the order of their names; raise FileUnreadable if there are none or of several kinds."""
    source = as_stored(source)
    if not source.is_dir():
        return [_allowed(source)]
    _refuse_strange_link(source)
    files = [file for file in source.iterdir() if not file.name.startswith(".") and file.suffix != ".dvc"]
    files.sort(key=lambda file: unicodedata.normalize("NFC", file.name))
    if not files:
        raise FileUnreadable(source, "is an empty folder", "put the files with the texts into it")
    shards = [_allowed(file, within=source) for file in files]
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


def _allowed(file: Path, within: Path | None = None) -> Shard:
    if file.is_dir():
        raise FileUnreadable(file, "is a folder in a folder", "put all files into one folder")
    if file.exists() and not file.is_file():
        raise FileUnreadable(file, "is not a regular file", "copy its content into one")
    _refuse_strange_link(file, within)
    with errors_of_readers():
        return shard_of(file)


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
