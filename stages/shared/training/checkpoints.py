"""What lets a training go on after anything: a folder that survives the stage, and checkpoints that are whole or not there.

DVC empties outputs before it runs a stage, so the folder lies outside them, in the main checkout. It is keyed by params,
data, base, code, device, precision, threads and processes. SENTIMENT_CHECKPOINT_SECONDS (300) is how much work may be lost.
"""

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout
from transformers import TrainerCallback

from stages.shared.errors import StageError
from stages.shared.project import project_root

log = logging.getLogger("checkpoints")

WHOLE = "whole"  # the file that a checkpoint gets last and loses first
SECONDS = 300.0
POLL_SECONDS = 0.2
AT_A_TIME = 20.0  # seconds that other processes wait for the main one, which gloo and NCCL do not do for ever


@contextmanager
def checkpoint_folder(key: str) -> Iterator[Path]:
    """Give models/checkpoints/<key> of the main checkout, to one training at a time; `forget` removes it when all has ended well.

    Who waits for a training that is under way, as when DVC was killed and not its stage, is given what that one has learnt.

    key: hash of what decides the weights. Of several processes of one training the main one holds the lock, and its
    key counts: another host may have other cores.
    """
    state = PartialState()
    folder = project_root() / "models" / "checkpoints" / str(_of_the_main_process(key))[:16]
    folder.mkdir(parents=True, exist_ok=True)
    lock, following = _locks(folder)
    for wanted in (following, lock):
        if not _acquired(wanted, 0):
            log.warning("the same training is under way in another process: waiting for it (%s)", folder)
            while not _acquired(wanted, AT_A_TIME):
                pass
    following.release()
    folder.mkdir(exist_ok=True)
    try:
        yield folder
        state.wait_for_everyone()
    finally:
        lock.release()


def forget(folder: Path) -> None:
    """Remove the folder of a training whose outputs are in place, unless another one goes on with it or waits for it."""
    lock, following = _locks(folder)
    with suppress(Timeout), following.acquire(timeout=0), lock.acquire(timeout=0):
        shutil.rmtree(folder, ignore_errors=True)


def _locks(folder: Path) -> tuple[FileLock, FileLock]:
    """Return the lock of the training that has the folder, and that of the one that is to have it next."""
    return FileLock(folder.with_suffix(".lock")), FileLock(folder.with_suffix(".next.lock"))


def _acquired(lock: FileLock, seconds: float) -> bool:
    """Have the main process try to get the lock; all processes return whether it has it."""
    if PartialState().is_main_process:
        with suppress(Timeout):
            lock.acquire(timeout=seconds)
    return bool(_of_the_main_process(lock.is_locked))


def _of_the_main_process(value: Any) -> Any:
    """Return what the main process passes, in all processes."""
    values = [value]
    return broadcast_object_list(values)[0] if PartialState().num_processes > 1 else values[0]


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the whole checkpoint of the most steps, or None."""
    whole = {int(mark.parent.name.removeprefix("checkpoint-")): mark.parent for mark in folder.glob(f"checkpoint-*/{WHOLE}")}
    return whole[max(whole)] if whole else None


def remove_incomplete(folder: Path) -> None:
    """Have the main process remove the checkpoints that are not whole: a full disk needs their room."""
    if PartialState().is_main_process:
        for half in folder.glob("checkpoint-*"):
            if not (half / WHOLE).exists():
                shutil.rmtree(half)


def remove_checkpoints(folder: Path) -> None:
    """Have the main process remove all checkpoints, for a training that goes on in another way."""
    if PartialState().is_main_process:
        for checkpoint in folder.glob("checkpoint-*"):
            _remove(checkpoint)


def put(file: Path, content: bytes) -> None:
    """Have the main process write a file of the checkpoint folder; a kill or a power cut leaves all of it or nothing."""
    if PartialState().is_main_process:
        draft = file.with_name(f"{file.name}.partial")
        draft.write_bytes(content)
        flush(draft)
        draft.rename(file)


def load_or_make(file: Path, make: Callable[[], bytes]) -> bytes:
    """Return what a file of the checkpoint folder holds, which the main process makes where it is not there; the others wait for it."""
    if PartialState().is_main_process and not file.exists():
        put(file, make())
    while not file.exists():  # for as long as it takes: gloo and NCCL do not wait for ever
        time.sleep(POLL_SECONDS)
    return file.read_bytes()


def flush(*paths: Path) -> None:
    """Have the disk take files and folders."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mark_whole(checkpoint: Path) -> None:
    """Have the disk take the files, then put the mark that makes them count."""
    flush(*checkpoint.iterdir(), checkpoint)
    put(checkpoint / WHOLE, b"")


def _remove(checkpoint: Path) -> None:
    (checkpoint / WHOLE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


class CheckpointCallback(TrainerCallback):
    """Ask for a checkpoint when enough work could be lost or a signal has come, mark it whole, and remove those that it outdates.

    steps: of an epoch. The Trainer itself makes the checkpoint that ends an epoch, after it has evaluated.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._seconds = _seconds()
        self._due = time.monotonic() + self._seconds
        self.asked = 0  # number of the signal that has come

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._steps:
            control.should_save = bool(_of_the_main_process(self.asked or time.monotonic() >= self._due))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Make the checkpoint count when all processes have written theirs; raise Stopped where a signal has asked for it."""
        processes = PartialState()
        processes.wait_for_everyone()
        if processes.is_main_process:
            newest = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            _mark_whole(newest)
            kept = {newest.name, Path(state.best_model_checkpoint or newest).name}
            for outdated in newest.parent.glob("checkpoint-*"):
                if outdated.name not in kept:
                    _remove(outdated)
        self._due = time.monotonic() + self._seconds
        if _of_the_main_process(self.asked):
            self.asked = self.asked or signal.SIGINT
            raise Stopped

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Take a first signal as the wish to stop behind the next checkpoint; leave a second one to whoever had it before."""
        log.warning("stopping behind a checkpoint; once more stops at once, back to the last one")
        self.asked = number


class Stopped(Exception):
    """A checkpoint has been made because a signal asked to stop."""


@contextmanager
def stopping_at_checkpoints(keeper: CheckpointCallback) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the block behind a checkpoint, then pass them on."""
    signals = (signal.SIGINT, signal.SIGTERM)
    earlier = {number: handler for number in signals if (handler := signal.getsignal(number)) != signal.SIG_IGN}

    def once(number: int, frame: FrameType | None) -> None:
        signal.signal(number, earlier[signal.Signals(number)])
        keeper.ask_to_stop(number, frame)

    for number in earlier:
        signal.signal(number, once)
    try:
        yield
    except Stopped:
        log.warning("the training is kept: the same command goes on with it")
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if keeper.asked:
        signal.raise_signal(keeper.asked)


def _seconds() -> float:
    wanted = os.environ.get("SENTIMENT_CHECKPOINT_SECONDS", str(SECONDS))
    try:
        return max(0.0, float(wanted))
    except ValueError:
        raise StageError(f"SENTIMENT_CHECKPOINT_SECONDS is {wanted!r}: set it to a number of seconds, e.g. 300") from None
