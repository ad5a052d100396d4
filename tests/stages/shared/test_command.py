"""The command line of a stage: a failure is one error message, the way back and an exit code."""

import errno
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from serving.inference.errors import InferenceError
from stages.shared import command
from stages.shared.errors import StageError
from stages.shared.outputs import write_text
from tests.running import run_command


@dataclass(frozen=True)
class Paths(command.Paths):
    test_file: Annotated[Path, "file to write"]


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give the stage its flags, and restore the signal handler and the variables that a stage sets."""
    monkeypatch.setattr(sys, "argv", ["stage", "--params", "params.yaml", "--test-file", str(tmp_path / "out.txt")])
    monkeypatch.setattr(os, "environ", os.environ.copy())
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def failing_stage(error: BaseException) -> None:
    """Run a stage that writes its output and then fails."""
    with command.stage("Doc.", Paths) as paths:
        write_text(paths.test_file, "written")
        raise error


def test_each_field_is_a_flag_and_a_path(tmp_path: Path) -> None:
    with command.stage("Doc.", Paths) as paths:
        assert paths == Paths(params=Path("params.yaml"), test_file=tmp_path / "out.txt")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (StageError("the split is empty: run dvc repro"), 1, "the split is empty: run dvc repro"),
        (InferenceError("the bundle is broken"), 1, "the bundle is broken"),
        (KeyboardInterrupt(), 130, "interrupted: no output is left incomplete"),
        (MemoryError(), 1, "out of memory: docs/how-to/troubleshooting.md names the params to lower"),
        (
            OSError(errno.ENOSPC, "No space left on device", "data/x"),
            1,
            "cannot write data/x ([Errno 28] No space left on device",
        ),
        (RuntimeError("database: disk is full\nmore"), 1, "cannot write an output (database: disk is full)"),
    ],
    ids=["stage", "inference", "Ctrl-C", "memory", "disk", "disk in a library"],
)
def test_failure_is_an_error_message_and_leaves_no_output(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as left:
        failing_stage(error)
    assert left.value.code == code
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"ERROR: {sentence}")
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize(("folder", "is_printed"), [(".", True), ("..", False)], ids=["workspace", "temporary copy"])
def test_way_back_is_printed_only_where_dvc_has_removed_outputs(
    folder: str, is_printed: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", folder)
    with pytest.raises(SystemExit):
        failing_stage(StageError("the split is empty: run dvc repro"))
    assert (command.WAY_BACK in capsys.readouterr().err) == is_printed


def test_sigterm_ends_with_143(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, command.stage("Doc.", Paths):
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == 143
    assert "ERROR: terminated" in capsys.readouterr().err


def test_unexpected_error_and_an_error_with_debug_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError), command.stage("Doc.", Paths):
        raise ZeroDivisionError
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--debug"])
    with pytest.raises(StageError, match="the split is empty"), command.stage("Doc.", Paths):
        raise StageError("the split is empty")


@pytest.mark.parametrize(("name", "value"), [("LOG_LEVEL", "loud"), ("SENTIMENT_REPORT", "never")])
def test_wrong_variable_ends_the_stage_before_its_work(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left, command.stage("Doc.", Paths):
        pytest.fail("the stage has begun")
    assert left.value.code == 2
    assert f"{name} is" in capsys.readouterr().err


def test_old_name_of_a_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("PREPROCESS_MEMORY", "2MB")
    with caplog.at_level(logging.WARNING), command.stage("Doc.", Paths):
        pass
    assert "the variable PREPROCESS_MEMORY is now called SENTIMENT_PREPROCESS_MEMORY" in caplog.text


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, command.SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
    ids=["none", "spins", "policy"],
)
def test_waiting_threads_spin_shortly_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    script = "import os, sys; from stages.shared import command; command._set_up('INFO'); "
    done = run_command(sys.executable, "-c", f"{script}print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))")
    assert done.stdout == f"False {expected}\n", done.stderr
