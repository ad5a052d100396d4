"""`make verify` trains a committed model again to the same bytes, and refuses a commit whose model is another one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from commands.verify import TOLERANCE
from tests.running import read_json, run_command

pytestmark = pytest.mark.usefixtures("warm_stages")


@pytest.fixture
def locked(project: Path) -> Path:
    """A copy of the project with a committed lock and metrics; its texts lie beside it."""
    beside = project.parent / "beside"
    beside.mkdir()
    (project / "data/raw/reviews.csv").rename(beside / "reviews.csv")
    params_file = project / "params.yaml"
    params_file.write_text(params_file.read_text("utf-8").replace("source: data/raw/reviews.csv", "source: ../beside/reviews.csv"), "utf-8")
    for command in (
        [sys.executable, "-m", "dvc", "repro", "train"],
        ["git", "add", "-A"],
        ["git", "commit", "-qm", "locked"],
    ):
        done = run_command(*command, cwd=project)
        assert done.returncode == 0, done.stderr
    return project


def verify(project: Path) -> "subprocess.CompletedProcess[str]":
    return run_command(sys.executable, "-m", "commands.verify", cwd=project)


def commit(project: Path, **changes: object) -> None:
    """Change metrics/train.json, and commit all changes."""
    metrics = project / "metrics/train.json"
    metrics.write_text(json.dumps(read_json(metrics) | changes), "utf-8")
    assert run_command("git", "commit", "-qam", "another model", cwd=project).returncode == 0


def test_verdict_depends_on_bytes_machine_and_accuracy(locked: Path) -> None:
    done = verify(locked)
    assert done.returncode == 0, done.stderr
    assert "The same bytes: models/final is " in done.stdout
    assert not run_command("git", "status", "--porcelain", cwd=locked).stdout

    lock = (locked / "dvc.lock").read_text("utf-8")
    md5 = done.stdout.partition("models/final is ")[2].partition(",")[0]
    (locked / "dvc.lock").write_text(lock.replace(md5, "0" * 32 + ".dir"), "utf-8")
    machine = read_json(locked / "metrics/train.json")["machine"]
    commit(locked, machine=machine | {"cpu": "another"})
    done = verify(locked)
    assert done.returncode == 0, done.stderr
    assert "Same accuracy (within " in done.stdout
    assert ") but different bytes, as expected of another machine or recipe\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert re.search(rf"^  models/final +{md5} +0{{32}}\.dir$", done.stdout, re.MULTILINE)
    assert re.search(r"^  machine cpu +\S.* +another$", done.stdout, re.MULTILINE)
    assert "recipe" not in done.stdout.partition("\n")[2]  # it is equal

    commit(locked, machine=machine)
    done = verify(locked)
    assert done.returncode == 1
    assert "same accuracy but different bytes on the same kind of machine: training is not reproducible here" in done.stderr

    texts = read_json(locked / "metrics/preprocess.json")["rows"]["validation"]
    assert 1 / texts > TOLERANCE
    accuracy = read_json(locked / "metrics/train.json")["validation_accuracy"]
    commit(locked, machine=machine | {"cpu": "another"}, validation_accuracy=accuracy - 1 / texts)
    done = verify(locked)
    assert done.returncode == 0, "one answer of few differs: " + done.stderr

    commit(locked, validation_accuracy=0.1234)
    done = verify(locked)
    assert done.returncode == 1
    assert "not the committed model" in done.stderr
    assert "0.1234" in done.stderr


def test_project_without_a_lock_is_an_error_message(project: Path) -> None:
    done = verify(project)
    assert done.returncode == 1
    assert "no training is committed" in done.stderr
