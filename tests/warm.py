"""Stages in processes forked from one that has imported what they need: a stage starts in a tenth of a second, not in ten.

A forked stage sees the same arguments, environment, folder and standard streams as `python -m stages.<name>`. What is read before
`main` runs (PYTHONPATH, variables of libraries that they read when imported) cannot reach it: `forkable` says so.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("preprocess", "label_noise", "train", "export", "evaluate", "emotion_distribution")
READ_BY_MAIN = ("DVC_", "MLFLOW_TRACKING_URI", "SENTIMENT_", "LOG_LEVEL", "REPORT")  # beginnings of variables

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    [
        *(f"stages.{stage}" for stage in STAGES),
        *("stages.shared.training.fitting", "stages.shared.training.micro_batches", "stages.shared.training.pairs"),
        *("stages.shared.engines.int8", "stages.shared.engines.parity", "transformers.models.distilbert.modeling_distilbert"),
        *("mlflow", "datasets", "sklearn.linear_model", "scipy.stats", "duckdb", "pyarrow", "onnx", "onnxruntime", "openvino", "nncf"),
    ]
)


def forkable(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> bool:
    """Tell whether a command is a stage of this checkout whose environment is read by its main alone."""
    is_stage = command[:2] == [sys.executable, "-m"] and command[2].removeprefix("stages.") in STAGES
    return is_stage and cwd == ROOT and all(name.startswith(READ_BY_MAIN) for name in environment)


def run_forked(command: Sequence[str], environment: Mapping[str, str], timeout: float) -> "subprocess.CompletedProcess[str]":
    """Run a stage in a forked process; return what it printed and its exit code, as subprocess.run does."""
    with tempfile.TemporaryDirectory() as folder:
        streams = Path(folder, "stdout"), Path(folder, "stderr")
        process = processes.Process(target=_main, args=(command[2:], {**os.environ, **environment}, streams))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()  # or pytest would wait for it at its end
            pytest.fail(f"{' '.join(command)} hangs")
        printed = [stream.read_text("utf-8") if stream.exists() else "" for stream in streams]
    return subprocess.CompletedProcess(command, process.exitcode, *printed)


def _main(command: Sequence[str], environment: Mapping[str, str], streams: Sequence[Path]) -> None:
    for descriptor, file in zip((1, 2), streams, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    module = import_module(command[0])
    sys.argv = [str(module.__file__), *command[1:]]
    module.main()
