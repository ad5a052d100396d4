"""Stages in processes forked from one that has imported what they need: a stage starts in a tenth of a second, not in ten.

A forked stage sees the same arguments, environment, folder and standard streams as `python -m stages.<name>`. What is read before
`main` runs (PYTHONPATH, variables of libraries that they read when imported) cannot reach it: `forkable` says so.

`warm_python` makes a `python` for the PATH of DVC. It forks the stages of any copy of the project, with the code of that copy.
Such a stage has no standard input. Exit code 1 also stands for a signal. torchrun starts that `python` where PYTHON_EXEC names it.
"""

import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("preprocess", "label_noise", "train", "export", "evaluate", "emotion_distribution")
READ_BY_MAIN = ("DVC_", "MLFLOW_TRACKING_URI", "SENTIMENT_", "LOG_LEVEL", "REPORT", "PYTHON_EXEC")  # beginnings of variables

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


OWN_PACKAGES = ("stages", "serving", "commands", "tests")
SHIM = """#!{python} -SE
import json, os, signal, socket, sys
if sys.argv[1:2] == ["-u"]:
    del sys.argv[1]
if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith("stages.") or os.environ.get("SENTIMENT_LAUNCH"):
    os.execv("{python}", ["{python}", *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect("{address}")
request = dict(argv=sys.argv[2:], cwd=os.getcwd(), environment=dict(os.environ))
socket.send_fds(server, [json.dumps(request).encode() + b"\\n"], [1, 2])
answers = server.makefile()
process = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(process, number))
sys.exit(int(answers.readline() or 1))  # without an answer it died
"""


@contextmanager
def warm_python() -> Iterator[str]:
    """Yield a PATH whose `python` forks stages from the warm process, and runs everything else as usual."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        address, python = Path(folder, "socket"), Path(folder, "python")
        python.write_text(SHIM.format(python=sys.executable, address=address), "utf-8")
        python.chmod(0o755)
        listening.bind(str(address))
        listening.listen()
        threading.Thread(target=_fork_for_each, args=(listening,), daemon=True).start()
        yield f"{folder}{os.pathsep}{os.environ['PATH']}"
        listening.shutdown(socket.SHUT_RDWR)  # ends the thread


def _fork_for_each(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        processes.Process(target=_main_of_a_copy, args=(connection,)).start()
        connection.close()


def _main_of_a_copy(connection: socket.socket) -> None:
    """Run a module of the copy of the project in which it was started, and send the process number and the exit code."""
    request, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 2)
    while not request.endswith(b"\n"):
        request += connection.recv(1 << 20)
    wanted = json.loads(request)
    for target, descriptor in zip((1, 2), descriptors, strict=True):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN_PACKAGES]:
        del sys.modules[name]  # the copy has its own code
    sys.path[:] = [wanted["cwd"], *(place for place in sys.path if place and Path(place) != ROOT)]
    sys.argv = wanted["argv"]
    connection.sendall(f"{os.getpid()}\n".encode())
    connection.sendall(f"{_exit_code_of(wanted['argv'][0])}\n".encode())


def _exit_code_of(module: str) -> int:
    """Run a module as `python -m` does, and return its exit code."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
