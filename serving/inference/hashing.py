"""The hash of a file: a path comes in, its SHA-256 goes out. A load checks the bundle with it, and the lineage lists it."""

import hashlib
from pathlib import Path


def file_sha256(file: Path) -> str:
    """Return the sha256 of a file's bytes in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
