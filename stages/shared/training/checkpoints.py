"""Checkpoints, and the folder that holds them: what lets a training resume after a kill, a signal, a power cut or a full disk.

In: the hash of what decides the weights. Out: a TrainingFolder, in which a checkpoint is complete or absent.
DVC empties the outputs before it runs a stage, so the folder lies outside them, in the main checkout.
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

from stages.shared.environment import read_environment
from stages.shared.project import project_root

log = logging.getLogger("checkpoints")

COMPLETE = "whole"  # the file that a checkpoint gets last and loses first
POLL_SECONDS = 0.2
LOCK_SECONDS = 20.0  # of one attempt to get a lock; the other processes wait for it, and gloo and NCCL do not wait for ever


class TrainingFolder:
    """The paths in models/checkpoints/<key>. Checkpoints of the classifier lie in the folder itself, as checkpoint-<step>."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mlflow_run = path / "mlflow_run"  # the id of the run
        self.parts_of_a_step = path / "parts_of_a_step"  # micro-batches of a step, in cross-entropy training
        self.teacher = path / "teacher.safetensors"  # the teacher's logits for the train split
        self.base = path / "base"  # the base model with a fitted vocabulary, after pre-training
        self.base_draft = path / ".base.partial"
        self.pretraining = path / "warm_up"  # checkpoints of the pre-training
        self.lock = FileLock(path.with_suffix(".lock"))  # of the training that uses the folder
        self.next_lock = FileLock(path.with_suffix(".next.lock"))  # of the training that waits for it


@contextmanager
def training_folder(key: str) -> Iterator[TrainingFolder]:
    """Create models/checkpoints/<key> in the main checkout and lock it; `remove_folder` removes it when the outputs are in place.

    A second training with the same key waits for the first one and then takes its result. That happens when DVC was killed but its
    stage was not. key: hash of params, data, base model, code and machine. With several processes the key of the main process counts,
    because another host may have other cores. The main process holds the lock.
    """
    state = PartialState()
    folder = TrainingFolder(project_root() / "models" / "checkpoints" / str(_from_main_process(key))[:16])
    folder.path.mkdir(parents=True, exist_ok=True)
    for lock in (folder.next_lock, folder.lock):
        if not _acquired(lock, 0):
            log.warning("the same training is under way in another process: waiting for it (%s)", folder.path)
            while not _acquired(lock, LOCK_SECONDS):
                pass
    folder.next_lock.release()
    folder.path.mkdir(exist_ok=True)
    try:
        yield folder
        state.wait_for_everyone()
    finally:
        folder.lock.release()


def remove_folder(folder: TrainingFolder) -> None:
    """Remove the folder of a training whose outputs are in place, unless another training uses it or waits for it."""
    with suppress(Timeout), folder.next_lock.acquire(timeout=0), folder.lock.acquire(timeout=0):
        shutil.rmtree(folder.path, ignore_errors=True)


def _acquired(lock: FileLock, seconds: float) -> bool:
    """Have the main process try to get the lock, and return in all processes whether it has it."""
    if PartialState().is_main_process:
        with suppress(Timeout):
            lock.acquire(timeout=seconds)
    return bool(_from_main_process(lock.is_locked))


def _from_main_process(value: Any) -> Any:
    """Return in all processes the value that the main process passes."""
    values = [value]
    return broadcast_object_list(values)[0] if PartialState().num_processes > 1 else values[0]


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the complete checkpoint with the most steps, or None."""
    complete = {int(mark.parent.name.removeprefix("checkpoint-")): mark.parent for mark in folder.glob(f"checkpoint-*/{COMPLETE}")}
    return complete[max(complete)] if complete else None


def remove_incomplete(folder: Path) -> None:
    """Have the main process remove incomplete checkpoints, because a full disk needs their space."""
    if PartialState().is_main_process:
        for checkpoint in folder.glob("checkpoint-*"):
            if not (checkpoint / COMPLETE).exists():
                shutil.rmtree(checkpoint)


def remove_checkpoints(folder: Path) -> None:
    """Have the main process remove all checkpoints, so that training starts over."""
    if PartialState().is_main_process:
        for checkpoint in folder.glob("checkpoint-*"):
            _remove(checkpoint)


def write_atomic(file: Path, content: bytes) -> None:
    """Have the main process write a file; after a kill or a power cut the file is complete or absent."""
    if PartialState().is_main_process:
        draft = file.with_name(f"{file.name}.partial")
        draft.write_bytes(content)
        flush(draft)
        draft.rename(file)


def load_or_make(file: Path, make: Callable[[], bytes]) -> bytes:
    """Return the content of a file; if it does not exist, the main process makes it and the other processes wait."""
    if PartialState().is_main_process and not file.exists():
        write_atomic(file, make())
    while not file.exists():  # polled, because gloo and NCCL do not wait for ever
        time.sleep(POLL_SECONDS)
    return file.read_bytes()


def flush(*paths: Path) -> None:
    """Make the system write files and folders to the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mark_complete(checkpoint: Path) -> None:
    """Write the files to the disk first, and then the completion file."""
    flush(*checkpoint.iterdir(), checkpoint)
    write_atomic(checkpoint / COMPLETE, b"")


def _remove(checkpoint: Path) -> None:
    """Remove the completion file first, so that a kill leaves an incomplete checkpoint."""
    (checkpoint / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


class CheckpointCallback(TrainerCallback):
    """Have the Trainer make a checkpoint when a signal has come or SENTIMENT_CHECKPOINT_SECONDS are over; then remove outdated ones.

    steps: of an epoch. The Trainer itself makes the checkpoint at the end of an epoch, after it has evaluated.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._seconds = read_environment().checkpoint_seconds
        self._due = time.monotonic() + self._seconds
        self.stop_signal = 0  # the number of the signal that has come

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._steps:
            control.should_save = bool(_from_main_process(self.stop_signal or time.monotonic() >= self._due))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint when all processes have written their files; raise Stopped if a signal has come."""
        processes = PartialState()
        processes.wait_for_everyone()
        if processes.is_main_process:
            newest = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            _mark_complete(newest)
            kept = {newest.name, Path(state.best_model_checkpoint or newest).name}
            for checkpoint in newest.parent.glob("checkpoint-*"):
                if checkpoint.name not in kept:
                    _remove(checkpoint)
        self._due = time.monotonic() + self._seconds
        if _from_main_process(self.stop_signal):
            self.stop_signal = self.stop_signal or signal.SIGINT
            raise Stopped

    def request_stop(self, number: int) -> None:
        log.warning("stopping after the next checkpoint; press Ctrl-C again to stop now and lose the work since the last one")
        self.stop_signal = number


class Stopped(Exception):
    """A signal asked for a stop, and the checkpoint is made."""


@contextmanager
def stopping_at_checkpoints(callback: CheckpointCallback) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the block after a checkpoint, and then pass them on; a second signal is passed on at once."""
    signals = (signal.SIGINT, signal.SIGTERM)
    earlier = {number: handler for number in signals if (handler := signal.getsignal(number)) != signal.SIG_IGN}

    def once(number: int, frame: FrameType | None) -> None:
        signal.signal(number, earlier[signal.Signals(number)])
        callback.request_stop(number)

    for number in earlier:
        signal.signal(number, once)
    try:
        yield
    except Stopped:
        log.warning("the training is kept: run the same command again to resume it")
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if callback.stop_signal:
        signal.raise_signal(callback.stop_signal)
