"""That a committed model can be trained again to the same bytes, and that one which cannot is found out."""

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import read_json, run_command


@pytest.fixture
def locked(project: Path) -> Path:
    """A copy of the project whose lock and metrics are committed."""
    for command in (
        [sys.executable, "-m", "dvc", "repro", "train"],
        ["git", "add", "-A"],
        ["git", "commit", "-qm", "locked"],
    ):
        done = run_command(*command, cwd=project)
        assert done.returncode == 0, done.stderr
    return project


def test_retraining_keeps_or_breaks_the_promise_of_the_lock(locked: Path) -> None:
    done = run_command(sys.executable, "-m", "stages.shared.verify", cwd=locked)
    assert done.returncode == 0, done.stderr
    assert "The same bytes: models/final is " in done.stdout
    assert not run_command("git", "status", "--porcelain", cwd=locked).stdout

    lock = (locked / "dvc.lock").read_text("utf-8")
    md5 = done.stdout.partition("models/final is ")[2].partition(",")[0]
    (locked / "dvc.lock").write_text(lock.replace(md5, "0" * 32 + ".dir"), "utf-8")
    metrics = locked / "metrics/train.json"
    metrics.write_text(json.dumps(read_json(metrics) | {"validation_accuracy": 0.1234}), "utf-8")
    assert run_command("git", "commit", "-qam", "another model", cwd=locked).returncode == 0
    done = run_command(sys.executable, "-m", "stages.shared.verify", cwd=locked)
    assert done.returncode == 1
    assert "not the committed model" in done.stderr
    assert "0.1234" in done.stderr


def test_project_without_a_lock_is_told_so(project: Path) -> None:
    done = run_command(sys.executable, "-m", "stages.shared.verify", cwd=project)
    assert done.returncode == 1
    assert "no dvc.lock is committed" in done.stderr
