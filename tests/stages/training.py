"""The train stage in a process of its own, forked from one that has imported everything, so that it takes a second."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import NONE

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["stages.train", "stages.shared.training.pairs", "stages.shared.training.checkpoints", "mlflow", "datasets"]
)


class Training:
    """A training with its own root; `run` may be called again after it failed."""

    def __init__(self, tiny_model: Path, base: Path, root: Path, params_file: Path, teacher: Path | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        files = {
            "train": tiny_model / "train.csv",
            "validation": tiny_model / "validation.csv",
            "base": base,
            "params": params_file,
            "teacher": teacher or NONE,
        }
        files |= {"model": root / "final", "metrics": root / "train.json", "picture": root / "curve.png"}
        files |= {"preprocess-metrics": tiny_model / "preprocess.json"}
        self.root = root
        self.flags = [part for flag, file in files.items() for part in (f"--{flag}", str(file))]
        self.environment = {"DVC_ROOT": str(root), "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}"}
        self.said = root / "stderr.txt"

    def run(self, accident: Callable[[int], None] | None = None, at: int = 0, **environment: str) -> int:
        """Train, with an accident at its so-manieth occasion; return the exit code, or minus the signal's number."""
        process = processes.Process(target=_train, args=(self.flags, self.environment | environment, self.said, accident, at))
        process.start()
        process.join(300)
        if process.exitcode is None:
            process.kill()  # or pytest would wait for it at its end
            pytest.fail(f"the training hangs: {self.said.read_text()}")
        return process.exitcode

    @property
    def checkpoints(self) -> list[Path]:
        return sorted(self.root.glob("models/checkpoints/*/checkpoint-*"), key=lambda path: int(path.name.removeprefix("checkpoint-")))

    @property
    def results(self) -> dict[str, bytes]:
        files = [*(self.root / "final").iterdir(), self.root / "train.json", self.root / "curve.png"]
        return {file.name: file.read_bytes() for file in files}


def _train(flags: list[str], environment: dict[str, str], said: Path, accident: Callable[[int], None] | None, at: int) -> None:
    from stages import train

    os.environ.update({"SENTIMENT_CHECKPOINT_SECONDS": "0", "DO_NOT_TRACK": "true", **environment})
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    sys.argv = ["train", *flags]
    if accident:
        accident(at)
    train.main()
