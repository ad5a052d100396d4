"""The commands wait for DVC, find the paths of dvc.yaml, and end with an error message and an exit code."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from commands.dvc import dvc_add, error_messages, fresh_copy, output_of
from stages.shared.errors import StageError
from tests.running import ROOT, dvc, typed


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (StageError("no room: free some"), 1, "ERROR: no room: free some"),
        (FileNotFoundError(2, "No such file", "a.csv"), 1, "ERROR: [Errno 2] No such file: 'a.csv'"),
        (KeyboardInterrupt(), 130, "interrupted: run it again"),
    ],
)
def test_error_or_ctrl_c_becomes_an_error_message_and_an_exit_code(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_, error_messages("run it again"):
        raise error
    assert (exit_.value.code, capsys.readouterr().err) == (code, f"{sentence}\n")


def test_other_errors_pass_through() -> None:
    with pytest.raises(ZeroDivisionError), error_messages("run it again"):
        raise ZeroDivisionError


def test_ctrl_c_waits_until_the_command_has_cleaned_up(tmp_path: Path) -> None:
    child = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(1, flush=True); time.sleep(2); open('clean', 'w')"
    program = "\n".join(
        [
            "import signal, sys",
            "from commands.dvc import run_to_its_end",
            "signal.signal(signal.SIGINT, signal.default_int_handler)",  # a test run in the background ignores it
            f"run_to_its_end([sys.executable, '-c', {child!r}], cwd={str(tmp_path)!r})",
        ]
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert (tmp_path / "clean").exists()


def test_paths_are_those_of_dvc_yaml() -> None:
    assert output_of("train", "metrics", ROOT) == "metrics/train.json"
    assert output_of("train", "outs", ROOT) == "models/final"
    with pytest.raises(KeyError):
        output_of("nothing", "outs", ROOT)


def test_file_that_dvc_refuses_is_an_error_message_whose_remedy_works(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    file = Path("data/raw/mine.csv")
    with pytest.raises(StageError, match=r"DVC does not track data/raw/mine\.csv") as refused:
        dvc_add(file)
    file.write_text("text,label\n", "utf-8")
    typed(str(refused.value), repository)
    dvc(repository, "checkout")
    assert file.exists(), "DVC removes a file whose .dvc file it does not see, as every experiment does"


def test_copy_outside_a_repository_is_an_error_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match="cannot copy the project to"):
        fresh_copy(tmp_path)
