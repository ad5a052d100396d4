"""The hash of a file is the sha256 that `sha256sum` prints."""

import hashlib
from pathlib import Path

import pytest

from serving.inference.hashing import file_sha256


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"bundle" * 1_000_000], ids=["empty", "binary", "large"])
def test_hash_is_that_of_the_bytes(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(content)
    assert file_sha256(file) == hashlib.sha256(content).hexdigest()


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "model.bin")
