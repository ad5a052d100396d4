"""The files of a source: one file or a folder of shards.

In: the path of a source. Out: its shards, with the labels that their names give. A link out of the project is refused.
"""

import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

from serving.tables.files import KINDS, Shard, ending_of, shard_of
from stages.shared.errors import FileUnreadable
from stages.shared.project import dvc_cache, project_root
from stages.shared.sources.errors import errors_of_readers

FILE, FOLDER = "file", "folder"  # whose name is the label of the texts in it
LINES = "lines"  # of another file are the labels of the texts
OF_WINDOWS = ("Thumbs.db", "desktop.ini")  # files that its file manager leaves behind


class LabelledShard(NamedTuple):
    """A file of a source. label: of all its texts, if the name of the file or of its folder is their label."""

    shard: Shard
    label: str | None


def shards_of(source: Path, labels: str) -> list[LabelledShard]:
    """Return the files of a source in the order of their names; raise FileUnreadable if there are none or of several kinds.

    labels: `file` or `folder` if that name is the label of the texts, `lines` if lines of another file are, else anything.
    """
    source, root = as_stored(source), project_root().resolve()
    if not source.is_dir():
        return [_labelled(source, labels, root)]
    _refuse_strange_link(source, root)
    shards = [_labelled(file, labels, root, within=source) for folder in _folders(source, labels) for file in visible(folder)]
    kinds = {shard.kind for shard, _ in shards}
    if len(kinds) > 1:
        raise FileUnreadable(source, f"holds files of several kinds ({', '.join(sorted(kinds))})", "keep one kind in a folder")
    return shards


def visible(folder: Path) -> list[Path]:
    """Return what a folder of texts holds, in the order of the names; raise FileUnreadable if it is empty."""
    found = [file for file in folder.iterdir() if not file.name.startswith(".") and file.suffix != ".dvc" and file.name not in OF_WINDOWS]
    if not found:
        raise FileUnreadable(folder, "is an empty folder", "put the files with the texts into it")
    return sorted(found, key=lambda file: unicodedata.normalize("NFC", file.name))


def _folders(source: Path, labels: str) -> list[Path]:
    """Return the folders whose files are to be read: those of the classes, or the source itself."""
    if labels != FOLDER:
        return [source]
    folders = visible(source)
    if others := [entry.name for entry in folders if not entry.is_dir()]:
        raise FileUnreadable(
            source,
            f"holds {others[0]}, which is no folder of a class (label_column=folder)",
            "move it away, or put the texts of each class into a folder",
        )
    return folders


def _labelled(file: Path, labels: str, root: Path, within: Path | None = None) -> LabelledShard:
    """Return a file with the label that its name gives; raise FileUnreadable for what is no file of the project.

    root: the project. within: the folder that was named. `pos.txt` and `reviews.pos` both give the label pos.
    """
    if file.is_dir():
        raise FileUnreadable(file, "is a folder in a folder", "put all files into one folder")
    if file.exists() and not file.is_file():
        raise FileUnreadable(file, "is not a regular file", "copy its content into one")
    _refuse_strange_link(file, root, within)
    ending, kind, label = ending_of(file), None, None
    if labels == FOLDER:
        kind, label = "text" if ending == ".txt" else None, file.parent.name
    elif labels in (FILE, LINES):
        kind = "lines" if is_plain_text(file) else None
    if labels == FILE:
        stem = file.name[: len(file.name.lower().removesuffix(".gz")) - len(ending)]
        label = ending.removeprefix(".") if ending and ending not in KINDS else stem
    with errors_of_readers():
        return LabelledShard(shard_of(file, kind), label)


def is_plain_text(file: Path) -> bool:
    """Tell whether the name of a file says that it is no table."""
    return ending_of(file) == ".txt" or ending_of(file) not in KINDS


def as_stored(file: Path) -> Path:
    """Return the path as the disk stores it: macOS stores names decomposed (NFD), other systems composed (NFC)."""
    if file.exists() or file == file.parent:
        return file
    parent = as_stored(file.parent)
    if not parent.is_dir():
        return file
    wanted = unicodedata.normalize("NFC", file.name)
    return next((found for found in parent.iterdir() if unicodedata.normalize("NFC", found.name) == wanted), file)


def _refuse_strange_link(file: Path, root: Path, within: Path | None = None) -> None:
    """Refuse a symbolic link out of the project on any part of the path.

    An archive from elsewhere may contain such a link. DVC's cache may be outside the project.
    """
    target = file.resolve()
    in_project = Path(os.path.normpath(file.absolute())).is_relative_to(root)  # a path with .. may lead out of it
    if not file.is_symlink() and (not in_project or target.is_relative_to(root)):
        return
    allowed = [root, *([within.resolve()] if within else [])]
    if not any(target.is_relative_to(folder) for folder in allowed) and not target.is_relative_to(dvc_cache()):
        raise FileUnreadable(file, "is a symbolic link out of the project", "copy the file here, or name its own path in preprocess.source")
