"""Atomic outputs: a file or folder is complete at its path, or absent.

A stage writes a draft beside the path and moves it into place when it is complete. If the stage fails, it removes its
drafts and the outputs that it has moved already. So outputs of two executions never mix.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DIGITS = 6  # of every float in a metrics file: equal runs give equal bytes, and a diff stays readable
# Outputs in place since all_or_none began. Global, because the functions that write know nothing of the block that may fail around them.
_in_place: list[Path] = []


@contextmanager
def all_or_none() -> Iterator[None]:
    """Remove the outputs that the block has moved into place if it fails. A process runs one such block at a time."""
    _in_place.clear()
    try:
        yield
    except BaseException:
        for path in _in_place:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_files(*files: Path) -> Iterator[list[Path]]:
    """Give the path of a draft for each file. After the block, move all drafts into place; if it fails, move none."""
    drafts = [file.with_name(f".{file.name}.partial") for file in files]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield drafts
        for draft in drafts:
            draft.stat()  # fails before the first move if a draft is missing
        for draft, file in zip(drafts, files, strict=True):
            draft.replace(file)
            _in_place.append(file)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder as the draft. After the block, it replaces `folder`; if the block fails, `folder` stays as it was."""
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
    """Write a text file in UTF-8 with line feeds, on every platform."""
    with atomic_files(file) as (draft,):
        draft.write_text(text, "utf-8", newline="\n")


def write_metrics(file: Path, details: Path, figures: Mapping[str, Any], compared: Sequence[str]) -> None:
    """Write all figures of a stage into `details`, and those that one compares between commits into the metrics file too.

    compared: dotted names. A name of a mapping stands for all that it holds.
    """
    chosen: dict[str, Any] = {}
    for name in compared:
        *parents, key = name.split(".")
        source, target = figures, chosen
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[key] = source[key]
    write_json(file, chosen)
    write_json(details, figures)


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write JSON for `git diff`: sorted keys, floats with 6 digits, null for NaN and infinity, a final newline."""
    write_text(file, json.dumps(_rounded(values), ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0 if math.isfinite(value) else None
    return value
