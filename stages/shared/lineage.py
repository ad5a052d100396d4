"""Content hashes: what a model came from, so that equal inputs have equal names wherever and whenever it was made."""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.inference.hashing import file_sha256

ROOT = Path(__file__).resolve().parents[2]


def folder_sha256(folder: Path) -> str:
    """Hash the names and contents of all files in a folder."""
    return value_sha256({file.relative_to(folder).as_posix(): file_sha256(file) for file in sorted(folder.rglob("*")) if file.is_file()})


def value_sha256(value: Mapping[str, Any]) -> str:
    """Hash a JSON-like value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()


def code_sha256() -> str:
    """Hash the project's modules that this process has imported."""
    files = {Path(name).resolve() for module in list(sys.modules.values()) if (name := getattr(module, "__file__", None))}
    own = sorted(file for file in files if file.is_relative_to(ROOT / "stages") or file.is_relative_to(ROOT / "serving"))
    return value_sha256({file.relative_to(ROOT).as_posix(): file_sha256(file) for file in own})
