"""What tests of training share: the train stage in a separate process.

The process is forked from one that has imported everything, so a training of the tiny model takes a second.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.running import NONE
from tests.warm import processes

TINY_TRAINING: dict[str, object] = {  # the tiny model then learns every text of the tiny table
    "precision": "fp32",
    "max_length": 32,
    "batch_size": 8,
    "learning_rate": 0.01,
    "epochs": 12,
    "early_stopping_patience": 12,
    "token_dropout": 0.0,
    "threads": 1,
}

RESUMABLE: dict[str, object] = {  # with the splits of `doubtful` it stops early
    "max_length": 32,
    "batch_size": 8,
    "learning_rate": 0.002,
    "epochs": 8,
    "threads": 1,
    "precision": "fp32",
}
STEPS = 10  # of an epoch: 84 texts, about 8 a step


class Training:
    """A training in its own root folder. After a failure, `run` runs the same command again."""

    def __init__(self, tiny_model: Path, base: Path, root: Path, params_file: Path, teacher: Path | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        files = {
            "train": tiny_model / "train.csv",
            "validation": tiny_model / "validation.csv",
            "classes": tiny_model / "classes.json",
            "base": base,
            "params": params_file,
            "teacher": teacher or NONE,
        }
        files |= {"model": root / "final", "metrics": root / "compared.json", "details": root / "train.json"}
        files |= {"picture": root / "curve.png", "preprocess-details": tiny_model / "preprocess.json"}
        self.root = root
        self.flags = [part for flag, file in files.items() for part in (f"--{flag}", str(file))]
        self.environment = {"DVC_ROOT": str(root), "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}"}
        self.stderr_file = root / "stderr.txt"

    def run(self, accident: Callable[[int], None] | None = None, at: int = 0, **environment: str) -> int:
        """Train, with an accident at its `at`-th occasion; return the exit code, or minus the number of the signal."""
        process = processes.Process(target=_train, args=(self.flags, self.environment | environment, self.stderr_file, accident, at))
        process.start()
        process.join(300)
        if process.exitcode is None:
            process.kill()  # or pytest would wait for it in the end
            pytest.fail(f"the training hangs: {self.stderr}")
        return process.exitcode

    @property
    def stderr(self) -> str:
        """What the last run logged."""
        return self.stderr_file.read_text()

    @property
    def checkpoints(self) -> list[Path]:
        return sorted(self.root.glob("models/checkpoints/*/checkpoint-*"), key=lambda path: int(path.name.removeprefix("checkpoint-")))

    @property
    def results(self) -> dict[str, bytes]:
        files = [*(self.root / "final").iterdir(), self.root / "train.json", self.root / "curve.png"]
        return {file.name: file.read_bytes() for file in files}


def _train(flags: list[str], environment: dict[str, str], stderr_file: Path, accident: Callable[[int], None] | None, at: int) -> None:
    from stages import train

    os.environ.update({"SENTIMENT_CHECKPOINT_SECONDS": "0", "DO_NOT_TRACK": "true", **environment})
    os.dup2(os.open(stderr_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # because tests that run in the background ignore it
    sys.argv = ["train", *flags]
    if accident:
        accident(at)
    train.main()
