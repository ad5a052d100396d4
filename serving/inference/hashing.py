"""The one hash of files: by it the bundle is checked and lineage is told."""

import hashlib
from pathlib import Path


def file_sha256(file: Path) -> str:
    """Return the sha256 of a file's bytes in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
