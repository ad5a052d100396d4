"""A training that is killed, interrupted or out of disk resumes, and ends with the same bytes as an undisturbed one."""

import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.running import read_json, write_params
from tests.stages.accidents import (
    after_the_last_checkpoint,
    at_a_full_disk,
    at_ctrl_c,
    at_sigterm,
    before_the_checkpoint_is_complete,
    before_the_outdated_checkpoint_loses_its_mark,
    slowly,
    with_half_of_a_checkpoint_written,
    with_half_of_the_outdated_checkpoint_removed,
    with_the_outputs_in_place,
    within_a_step,
)
from tests.stages.training import RESUMABLE, STEPS, Training


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Params that leave the recipe open, which is contrastive training for so few texts."""
    left_open = dict.fromkeys(("batch_size", "learning_rate", "epochs"), "auto")
    return write_params(tmp_path_factory.mktemp("params") / "few.yaml", {"train": RESUMABLE | left_open})


@pytest.fixture
def training(doubtful: Path, tiny_base: Path, resumable_params: Path, tmp_path: Path) -> Training:
    return Training(doubtful, tiny_base, tmp_path / "root", resumable_params)


@pytest.mark.parametrize(
    ("accident", "at"),
    [
        (within_a_step, 1),
        (within_a_step, STEPS + 5),
        (within_a_step, 2 * STEPS + 1),
        (with_half_of_a_checkpoint_written, 3 * 7),
        (before_the_checkpoint_is_complete, 1),
        (before_the_checkpoint_is_complete, STEPS),
        (before_the_outdated_checkpoint_loses_its_mark, STEPS + 2),
        (with_half_of_the_outdated_checkpoint_removed, 2 * STEPS + 3),
        (after_the_last_checkpoint, 1),
    ],
)
def test_killed_training_resumes_to_the_same_bytes(
    training: Training, undisturbed: dict[str, bytes], accident: Callable[[int], None], at: int
) -> None:
    assert training.run(accident, at) == -signal.SIGKILL
    assert not (training.root / "final").exists()
    assert not (training.root / "train.json").exists()
    has_complete_checkpoint = any((checkpoint / "whole").exists() for checkpoint in training.checkpoints)
    assert training.run() == 0, training.stderr
    assert ("resuming from" in training.stderr) == has_complete_checkpoint
    assert training.results == undisturbed
    assert not training.checkpoints


def test_training_killed_before_its_outputs_are_kept_makes_them_again_at_once(training: Training, undisturbed: dict[str, bytes]) -> None:
    assert training.run(with_the_outputs_in_place, 1) == -signal.SIGKILL
    shutil.rmtree(training.root / "final")  # as DVC does before it runs a stage
    assert training.run() == 0, training.stderr
    assert "resuming from" in training.stderr
    assert "epoch 1 of" not in training.stderr
    assert training.results == undisturbed
    assert not training.checkpoints


@pytest.mark.parametrize(("accident", "at"), [(within_a_step, 7), (after_the_last_checkpoint, 1)])
def test_killed_contrastive_training_resumes_to_the_same_bytes(
    few: Path, doubtful: Path, tiny_base: Path, tmp_path: Path, accident: Callable[[int], None], at: int
) -> None:
    undisturbed, killed = (Training(doubtful, tiny_base, tmp_path / name, few) for name in ("undisturbed", "killed"))
    assert undisturbed.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, undisturbed.stderr
    metrics = read_json(undisturbed.root / "train.json")
    assert metrics["recipe"]["pairs"]
    assert metrics["best_epoch"] == metrics["epochs_run"] == metrics["recipe"]["epochs"] == 20
    assert [row["epoch"] for row in metrics["curve"]] == [4, 8, 12, 16, 20]
    assert metrics["validation_calibrated_loss"] == pytest.approx(metrics["validation_loss"], abs=1e-3)  # the head is calibrated already
    assert killed.run(accident, at) == -signal.SIGKILL
    assert killed.run() == 0, killed.stderr
    assert "resuming from" in killed.stderr
    assert killed.results == undisturbed.results


def test_ended_training_whose_project_has_moved_gives_the_best_epoch(
    training: Training, undisturbed: dict[str, bytes], doubtful: Path, tiny_base: Path, resumable_params: Path, tmp_path: Path
) -> None:
    assert training.run(after_the_last_checkpoint, 1) == -signal.SIGKILL
    moved = Training(doubtful, tiny_base, tmp_path / "moved", resumable_params)
    (training.root / "models").rename(moved.root / "models")
    assert moved.run() == 0, moved.stderr
    assert "resuming from" in moved.stderr
    assert moved.results == undisturbed


@pytest.mark.parametrize(("accident", "code", "word"), [(at_ctrl_c, 130, "interrupted"), (at_sigterm, 143, "terminated")])
def test_signal_ends_the_training_after_a_checkpoint(
    training: Training, undisturbed: dict[str, bytes], accident: Callable[[int], None], code: int, word: str
) -> None:
    assert training.run(accident, STEPS + 5, SENTIMENT_CHECKPOINT_SECONDS="3600") == code
    assert "stopping after the next checkpoint" in training.stderr
    assert f"ERROR: {word}" in training.stderr
    assert "run the same command again to resume it" in training.stderr
    assert "Traceback" not in training.stderr
    assert training.checkpoints[-1].name == f"checkpoint-{STEPS + 5}"
    assert training.run() == 0
    assert f"checkpoint-{STEPS + 5}" in training.stderr
    assert training.results == undisturbed


def test_full_disk_keeps_the_earlier_checkpoint(training: Training, undisturbed: dict[str, bytes]) -> None:
    assert training.run(at_a_full_disk, 3 * 7) == 1
    assert "ERROR: cannot write" in training.stderr
    assert "Traceback" not in training.stderr
    assert training.run() == 0
    assert "resuming from" in training.stderr
    assert training.results == undisturbed


def test_second_equal_training_waits_for_the_first_and_takes_its_result(
    doubtful: Path, tiny_base: Path, resumable_params: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    first, second = (Training(doubtful, tiny_base, tmp_path / name, resumable_params) for name in ("first", "second"))
    second.environment["DVC_ROOT"] = str(first.root)  # as for two queued experiments of a project
    with ThreadPoolExecutor() as pool:
        running = pool.submit(first.run, slowly)
        while not list(first.root.glob("models/checkpoints/*/mlflow_run")) and not running.done():
            time.sleep(0.05)
        assert second.run() == 0, second.stderr
        assert running.result() == 0, first.stderr
    assert "the same training is under way in another process" in second.stderr
    assert "resuming from" in second.stderr
    assert "epoch 1 of" not in second.stderr
    assert first.results == second.results == undisturbed
    assert not first.checkpoints


def test_disk_holds_no_more_than_the_best_and_the_newest_checkpoint(training: Training) -> None:
    assert training.run(within_a_step, 3 * STEPS + 4) == -signal.SIGKILL
    assert 1 <= len(training.checkpoints) <= 2


def test_interval_that_is_not_a_number_is_refused(training: Training) -> None:
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="often") == 2
    assert "SENTIMENT_CHECKPOINT_SECONDS is 'often'" in training.stderr
