"""Where the labels of a path are if no column has them: in the names of files or folders, or in a file beside the texts.

In: a path. Out: the source in it, and the params that say so.
"""

from contextlib import suppress
from pathlib import Path

from stages.shared.dataset.reading import MAX_CLASSES
from stages.shared.errors import StageError
from stages.shared.sources.errors import ColumnMissing
from stages.shared.sources.shards import FILE, FOLDER, is_plain_text, visible
from stages.shared.sources.source import Source
from stages.shared.sources.tables import AUTO, LABEL, ReadOptions, named


def shape_of(path: Path) -> tuple[Path, dict[str, str]]:
    """Return the source in a path, and the params that say where its labels are if no column has them. Raises StageError.

    A folder of folders has a folder for each class; reading it refuses a file beside them.
    Of two files, one may have the labels of the other. Else files may be named by labels.
    """
    if not path.is_dir():
        return path, {}
    entries = visible(path)
    folders = sum(entry.is_dir() for entry in entries)
    if folders == len(entries) or folders > 1:
        return path, {"label_column": FOLDER}
    if len(entries) == 2:
        for texts, labels in (entries, entries[::-1]):
            if _are_labels(texts, labels):
                return texts, {"labels_source": str(labels)}
    return path, {"label_column": FILE} if len(entries) > 1 and _lack_labels(path) else {}


def _are_labels(texts: Path, labels: Path) -> bool:
    """Tell whether the lines of a file are labels of the lines of another: by its name, else by lines that repeat.

    The numbers of lines may differ, so that reading them says so.
    """
    if named([labels.name.partition(".")[0]], AUTO, LABEL):
        return _lack_labels(texts)
    found, count = set(), 0
    if not all(map(is_plain_text, (texts, labels))):
        return False
    with suppress(StageError):
        for count, row in enumerate(Source(texts, ReadOptions(None), optional=False, labels_file=labels).rows(), 1):  # noqa: B007
            found.add(row.label)
            if len(found) > MAX_CLASSES:
                break
    return 1 < len(found) <= count / 2


def _lack_labels(source: Path) -> bool:
    """Tell whether a source has no column of labels."""
    try:
        next(Source(source, ReadOptions(None), optional=False).rows(), None)
    except ColumnMissing:
        return True
    except StageError:
        return all(map(is_plain_text, visible(source) if source.is_dir() else [source]))
    return False
