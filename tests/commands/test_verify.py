"""`make verify` trains a committed model again to the same bytes, and refuses a commit whose model is another one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from commands.verify import TOLERANCE, Training, verdict
from stages.shared.errors import StageError
from tests.running import dvc, edit, output_of, read_json, run_command, typed


def verify(project: Path) -> "subprocess.CompletedProcess[str]":
    return run_command(sys.executable, "-m", "commands.verify", cwd=project)


@pytest.mark.usefixtures("warm_stages")
def test_remedies_lead_to_a_commit_that_is_verified(reproduced: Path) -> None:
    """Another metric and no lock are errors that name the remedy. The texts lie beside the project."""
    beside = reproduced.parent / "beside"
    beside.mkdir()
    (reproduced / "data/raw/reviews.csv").rename(beside / "reviews.csv")
    edit(reproduced / "params.yaml", "source: data/raw/reviews.csv", "source: ../beside/reviews.csv")
    dvc(reproduced, "repro")
    output_of("git", "rm", "-q", "--cached", "dvc.lock", cwd=reproduced)
    output_of("git", "commit", "-qam", "no lock", cwd=reproduced)
    refused = verify(reproduced)
    assert refused.returncode == 1
    assert "no training is committed" in refused.stderr
    follow(refused.stderr, reproduced)

    metrics_file = reproduced / "metrics/train.json"
    right = metrics_file.read_bytes()
    metrics_file.write_text(json.dumps(read_json(metrics_file) | {"validation_accuracy": 0.1234}), "utf-8")
    edit(reproduced / "dvc.lock", lock_hash(reproduced), "0" * 32)
    output_of("git", "commit", "-qam", "another model", cwd=reproduced)
    refused = verify(reproduced)
    assert refused.returncode == 1
    assert "not the committed model" in refused.stderr
    assert "0.1234" in refused.stderr
    follow(refused.stderr, reproduced)
    assert metrics_file.read_bytes() == right

    done = verify(reproduced)
    assert done.returncode == 0, done.stderr
    assert f"The same bytes: models/final is {lock_hash(reproduced)}" in done.stdout
    assert not output_of("git", "status", "--porcelain", cwd=reproduced)


def lock_hash(project: Path) -> str:
    """Return the hash of models/final in dvc.lock, without its ending."""
    return re.findall(r"md5: (\w+)\.dir\n", (project / "dvc.lock").read_text("utf-8").partition("path: models/final")[2])[0]


def follow(message: str, project: Path) -> None:
    """Do what a message says: type its command, and commit dvc.lock and metrics/."""
    assert "and commit dvc.lock and metrics/" in message
    typed(message, project)
    output_of("git", "add", "dvc.lock", "metrics", cwd=project)
    output_of("git", "commit", "-qm", "as the message says", cwd=project)


MACHINE, RECIPE = {"cpu": "one", "threads": 2}, {"epochs": 5}
FOUND = Training("f" * 32 + ".dir", {"validation_accuracy": 0.9, "machine": MACHINE, "recipe": RECIPE})


def committed(accuracy: float = 0.9, **machine: object) -> Training:
    return Training("0" * 32 + ".dir", FOUND.metrics | {"validation_accuracy": accuracy, "machine": MACHINE | machine})


def test_equal_bytes_need_no_look_at_the_machine() -> None:
    assert verdict("models/final", FOUND, committed(cpu="another")._replace(hash=FOUND.hash), 150).startswith(
        "The same bytes: models/final"
    )


def test_another_machine_may_give_other_bytes() -> None:
    said = verdict("models/final", FOUND, committed(cpu="another"), 150)
    assert said.startswith("Same accuracy (within 0.03) but different bytes, as expected of another machine or recipe\n")
    assert max(map(len, said.splitlines())) <= 120
    assert re.search(r"^  models/final +f{32}\.dir +0{32}\.dir$", said, re.MULTILINE)
    assert re.search(r"^  machine cpu +one +another$", said, re.MULTILINE)
    assert "recipe" not in said.partition("\n")[2]  # it is equal


def test_same_machine_must_give_the_same_bytes() -> None:
    with pytest.raises(StageError, match="different bytes on the same kind of machine: training is not reproducible here"):
        verdict("models/final", FOUND, committed(), 150)


def test_two_answers_of_few_texts_may_differ() -> None:
    assert TOLERANCE < 2 / 40
    assert "within 0.05" in verdict("models/final", FOUND, committed(0.9 - 2 / 40 + 1e-9, cpu="another"), 40)
    with pytest.raises(StageError, match=r"not the committed model, for its accuracy differs by more than 0\.03"):
        verdict("models/final", FOUND, committed(0.9 - 2 / 40, cpu="another"), 150)
