"""A folder for a training's checkpoints that survives the stage: DVC empties outputs before it runs one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from stages.shared.project import project_root


@contextmanager
def checkpoint_folder(key: str) -> Iterator[Path]:
    """Give models/checkpoints/<key> of the main checkout, locked; remove it when the block ends well.

    key: hash of everything that decides the weights, so that a training goes on only from its own checkpoints.
    """
    folder = project_root() / "models" / "checkpoints" / key[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)
