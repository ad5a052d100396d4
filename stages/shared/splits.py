"""The project's own splits: columns text and label (class id)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.errors import FileUnreadable

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
SPLIT_COLUMNS = ["text", "label"]


def read_split(file: Path, class_names: Sequence[str] | None = None) -> "pd.DataFrame":
    """Read a split written by preprocess: columns text (str), label (int).

    class_names: those that the labels must be of. Raises FileUnreadable where it is no split, or has other classes.
    """
    import pandas as pd

    remedy = "run `dvc repro preprocess`"
    try:
        split = pd.read_csv(file, dtype={"text": str, "label": int}, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise FileUnreadable(file, "does not exist", remedy) from None
    except ValueError as error:
        raise FileUnreadable(file, f"is no split ({str(error).splitlines()[0]})", remedy) from None
    if list(split.columns) != SPLIT_COLUMNS or split.empty:
        raise FileUnreadable(file, "is no split with the columns text, label and some rows", remedy)
    if class_names is not None and not split["label"].between(0, len(class_names) - 1).all():
        raise FileUnreadable(file, f"has the class id {split['label'].max()} where there are {len(class_names)} classes", remedy)
    return split
