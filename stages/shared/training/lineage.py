"""Lineage: SHA-256 hashes of what a model came from, so that equal inputs have equal names on any machine and at any time.

In: files, folders, values and modules of the project. Out: their hashes.
"""

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from serving.inference.hashing import file_sha256

ROOT = Path(__file__).resolve().parents[3]


def folder_sha256(folder: Path) -> str:
    """Hash the names and contents of all files in a folder."""
    return value_sha256({file.relative_to(folder).as_posix(): file_sha256(file) for file in sorted(folder.rglob("*")) if file.is_file()})


def value_sha256(value: Mapping[str, Any]) -> str:
    """Hash a JSON-like value; the order of its keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()


def code_sha256(module: Path) -> str:
    """Hash a module of the project and all modules of the project that it imports, directly or through others."""
    return value_sha256({file.relative_to(ROOT).as_posix(): file_sha256(file) for file in sorted(own_imports(module))})


@cache
def own_imports(module: Path) -> frozenset[Path]:
    """Return a module of the project and the project's modules that it imports, directly or through others.

    Imports inside functions count too.
    """
    found = {module}
    for name in imported_names(module):
        file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name.split(".")[0] in ("stages", "serving") and file.is_file() and file != module:
            found |= own_imports(file)
    return frozenset(found)


def imported_names(module: Path) -> set[str]:
    """Return every dotted name that a file imports, and `module.name` for each name that it imports from a module."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names
