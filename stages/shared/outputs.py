"""Write outputs whole or not at all: beside their place first, then moved into it.

What a stage had begun when it dies (disk full, Ctrl-C) is removed, and so is what it had already put into place:
outputs of two runs never stand side by side.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_in_place: list[Path] = []  # outputs that this process has written
DIGITS = 6  # of every float in a metrics file: equal runs give equal bytes, and a diff stays readable


@contextmanager
def all_or_none() -> Iterator[None]:
    """Take back the outputs that the block has put into place when it fails."""
    _in_place.clear()
    try:
        yield
    except BaseException:
        for path in _in_place:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_files(*files: Path) -> Iterator[list[Path]]:
    """Give one temporary path per file; when the block ends well, move all of them into place."""
    drafts = [file.with_name(f".{file.name}.partial") for file in files]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield drafts
        for draft in drafts:
            draft.stat()  # all are there before any is moved
        for draft, file in zip(drafts, files, strict=True):
            draft.replace(file)
            _in_place.append(file)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty temporary folder; when the block ends well, it takes the place of `folder`."""
    draft = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
        _in_place.append(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_text(file: Path, text: str) -> None:
    with atomic_files(file) as (draft,):
        draft.write_text(text, "utf-8", newline="\n")


def write_metrics(file: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics for `git diff`: sorted keys, floats of 6 digits, null for what is not a number, final newline."""
    write_text(file, json.dumps(_rounded(metrics), ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0 if math.isfinite(value) else None
    return value
