"""Accidents for tests of training: each is installed in the process of a training and happens at its `at`-th occasion."""

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _before(owner: Any, name: str, at: int, action: Callable[..., None], applies: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Run the action just before the `at`-th call of owner.name that it applies to."""
    original = getattr(owner, name)
    count = 0

    def changed(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        if applies(*arguments, **options):
            count += 1
            if count == at:
                action(*arguments, **options)
        return original(*arguments, **options)

    setattr(owner, name, changed)


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def within_a_step(at: int) -> None:
    import torch

    _before(torch.optim.AdamW, "step", at, _die)


def with_half_of_a_checkpoint_written(at: int) -> None:
    import torch

    def half(_: Any, file: str, *__: Any, **___: Any) -> None:
        Path(file).write_bytes(b"half")
        _die()

    _before(torch, "save", at, half)


def before_the_checkpoint_is_complete(at: int) -> None:
    _before(Path, "rename", at, _die, lambda _, target: Path(target).name == "whole")


def before_the_outdated_checkpoint_loses_its_mark(at: int) -> None:
    _before(Path, "unlink", at, _die, lambda path, **_: path.name == "whole")


def with_half_of_the_outdated_checkpoint_removed(at: int) -> None:
    def half(path: Path, *_: Any, **__: Any) -> None:
        next(path.glob("*.safetensors")).unlink()
        _die()

    _before(shutil, "rmtree", at, half, lambda path, *_, **__: Path(path).name.startswith("checkpoint-"))


def after_the_last_checkpoint(at: int) -> None:
    from stages import train

    _before(train, "write", at, _die)


def with_the_outputs_in_place(at: int) -> None:
    from stages.shared.training import checkpoints

    _before(checkpoints, "remove_folder", at, _die)


def at_ctrl_c(at: int) -> None:
    import torch

    _before(torch.optim.AdamW, "step", at, lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))


def at_sigterm(at: int) -> None:
    import torch

    _before(torch.optim.AdamW, "step", at, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))


def at_a_full_disk(at: int) -> None:
    import torch

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _before(torch, "save", at, full)


def with_a_nan_gradient(at: int) -> None:
    from stages.shared.training.trainer import BatchTrainer

    def spoil(_: Any, model: Any) -> None:
        next(model.parameters()).grad.fill_(float("nan"))

    _before(BatchTrainer, "_clip_grad_norm", at, spoil)


def slowly(_: int) -> None:
    import torch

    _before(torch.optim.AdamW, "step", 1, lambda *_, **__: time.sleep(10))


def with_little_memory(megabytes: int) -> None:
    """Make the training believe that no more than this is free when it begins."""
    from stages.shared.training import memory

    limit = memory.taken_bytes() + (megabytes << 20)
    memory.free_bytes = lambda: limit - memory.taken_bytes()
