"""A folder for a training's checkpoints that survives the stage: DVC empties outputs before it runs one."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from stages.shared.project import project_root

log = logging.getLogger("checkpoints")


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


def newest_checkpoint(folder: Path) -> str | None:
    """Return the whole checkpoint of the most steps to go on from, or None; remove those that a kill left half-written."""
    whole = {}
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / "trainer_state.json").exists():  # the Trainer writes it last
            whole[int(checkpoint.name.removeprefix("checkpoint-"))] = checkpoint
        else:
            shutil.rmtree(checkpoint)
    if not whole:
        return None
    newest = whole[max(whole)]
    log.info("going on from %s", newest)
    return str(newest)
