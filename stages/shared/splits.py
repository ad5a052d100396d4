"""The splits train, validation and test as CSV files, and the header-only file that stands for "no file".

A split has the columns text and label, where label is a class id.
"""

from collections.abc import Sequence
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stages.shared.errors import FileUnreadable, first_line

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
SPLIT_COLUMNS = ["text", "label"]
HEADER_ONLY = "none.csv"  # name of the header-only file in data/raw
MAX_HEADER = 4096  # bytes of a header-only file


def read_split(file: Path, class_names: Sequence[str] | None = None) -> "pd.DataFrame":
    """Read a split that preprocess wrote: columns text (str) and label (int).

    class_names: the classes that the labels may have. Raises FileUnreadable if the file is not a split, or has other classes.
    """
    import pandas as pd

    remedy = "run `dvc repro preprocess`"
    try:
        split = pd.read_csv(file, dtype={"text": str, "label": int}, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise FileUnreadable(file, "does not exist", remedy) from None
    except ValueError as error:
        raise FileUnreadable(file, f"is not a split ({first_line(error)})", remedy) from None
    if list(split.columns) != SPLIT_COLUMNS or split.empty:
        raise FileUnreadable(file, "is not a split with the columns text and label and at least one row", remedy)
    if class_names is not None and not (known := split["label"].between(0, len(class_names) - 1)).all():
        raise FileUnreadable(file, f"has the class id {split['label'][~known].iloc[0]}, but there are {len(class_names)} classes", remedy)
    return split


def is_header_only(file: Path) -> bool:
    """Tell whether an optional input is a header-only file, which stands for "no file"."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return only_line(stream) is not None


def only_line(stream: BinaryIO | RawIOBase) -> str | None:
    """Return the only line of a short stream, or None if the stream has more lines. An empty stream has the line ""."""
    start = stream.read(MAX_HEADER) or b""
    lines = [line for line in start.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    return "".join(lines) if len(start) < MAX_HEADER and len(lines) <= 1 else None
