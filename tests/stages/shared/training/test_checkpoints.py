"""That a training which is killed, interrupted or out of disk goes on to the very bytes of one that was not."""

import errno
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.conftest import read_json, write_params
from tests.stages.training import Training

LEARNING = {"max_length": 32, "batch_size": 8, "learning_rate": 0.002, "epochs": 8, "threads": 1, "precision": "fp32"}
STEPS = 11  # of an epoch: 84 texts, 8 a step


def _before(owner: Any, name: str, at: int, action: Callable[..., None], applies: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Have the action happen just before a call of owner.name, the so-manieth one that it applies to."""
    original = getattr(owner, name)
    count = 0

    def changed(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        if applies(*arguments, **options):
            count += 1
            if count == at:
                action(*arguments, **options)
        return original(*arguments, **options)

    setattr(owner, name, changed)


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_the_middle_of_a_step(at: int) -> None:
    import torch

    _before(torch.optim.AdamW, "step", at, _die)


def with_half_of_a_checkpoint_written(at: int) -> None:
    import torch

    def half(_: Any, file: str, *__: Any, **___: Any) -> None:
        Path(file).write_bytes(b"half")
        _die()

    _before(torch, "save", at, half)


def before_the_checkpoint_counts(at: int) -> None:
    _before(Path, "rename", at, _die, lambda _, target: Path(target).name == "whole")


def when_the_checkpoint_counts(at: int) -> None:
    _before(Path, "unlink", at, _die, lambda path, **_: path.name == "whole")


def with_half_of_the_outdated_one_removed(at: int) -> None:
    def half(path: Path, *_: Any, **__: Any) -> None:
        next(path.glob("*.safetensors")).unlink()
        _die()

    _before(shutil, "rmtree", at, half, lambda path, *_, **__: Path(path).name.startswith("checkpoint-"))


def behind_the_last_checkpoint(at: int) -> None:
    from stages import train

    _before(train, "write", at, _die)


def with_the_outputs_in_place(at: int) -> None:
    from stages.shared.training import checkpoints

    _before(checkpoints, "forget", at, _die)


def at_ctrl_c(at: int) -> None:
    import torch

    _before(torch.optim.AdamW, "step", at, lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))


def at_sigterm(at: int) -> None:
    import torch

    _before(torch.optim.AdamW, "step", at, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))


def at_a_full_disk(at: int) -> None:
    import torch

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _before(torch, "save", at, full)


def with_a_gradient_that_is_no_number(at: int) -> None:
    from stages.shared.training.trainer import BatchTrainer

    def spoil(_: Any, model: Any) -> None:
        next(model.parameters()).grad.fill_(float("nan"))

    _before(BatchTrainer, "_clip_grad_norm", at, spoil)


@pytest.fixture(scope="module")
def params_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_params(tmp_path_factory.mktemp("params") / "params.yaml", {"train": LEARNING})


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Params that leave open how to learn from so few texts."""
    left_open = dict.fromkeys(("batch_size", "learning_rate", "epochs"), "auto")
    return write_params(tmp_path_factory.mktemp("params") / "few.yaml", {"train": LEARNING | left_open})


@pytest.fixture(scope="module")
def expected(doubtful: Path, tiny_base: Path, params_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a training makes that nobody disturbs and that makes no checkpoint within an epoch."""
    training = Training(doubtful, tiny_base, tmp_path_factory.mktemp("undisturbed"), params_file)
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.said.read_text()
    metrics = read_json(training.root / "train.json")
    assert 1 < metrics["best_epoch"] < metrics["epochs_run"] < LEARNING["epochs"]  # it stops early, which a kill may not undo
    return training.results


@pytest.fixture
def training(doubtful: Path, tiny_base: Path, params_file: Path, tmp_path: Path) -> Training:
    return Training(doubtful, tiny_base, tmp_path / "root", params_file)


@pytest.mark.parametrize(
    ("accident", "at"),
    [
        (in_the_middle_of_a_step, 1),
        (in_the_middle_of_a_step, STEPS + 5),
        (in_the_middle_of_a_step, 2 * STEPS + 1),
        (with_half_of_a_checkpoint_written, 3 * 7),
        (before_the_checkpoint_counts, 1),
        (before_the_checkpoint_counts, STEPS),
        (when_the_checkpoint_counts, STEPS + 2),
        (with_half_of_the_outdated_one_removed, 2 * STEPS + 3),
        (behind_the_last_checkpoint, 1),
    ],
)
def test_killed_training_goes_on_to_the_same_bytes(
    training: Training, expected: dict[str, bytes], accident: Callable[[int], None], at: int
) -> None:
    assert training.run(accident, at) == -signal.SIGKILL
    assert not (training.root / "final").exists()
    assert not (training.root / "train.json").exists()
    had = any((checkpoint / "whole").exists() for checkpoint in training.checkpoints)
    assert training.run() == 0, training.said.read_text()
    assert ("going on from" in training.said.read_text()) == had
    assert training.results == expected
    assert not training.checkpoints


def test_training_killed_before_its_outputs_are_kept_makes_them_again_at_once(training: Training, expected: dict[str, bytes]) -> None:
    assert training.run(with_the_outputs_in_place, 1) == -signal.SIGKILL
    shutil.rmtree(training.root / "final")  # as DVC does before it runs a stage
    assert training.run() == 0, training.said.read_text()
    assert "going on from" in training.said.read_text()
    assert "epoch 1 of" not in training.said.read_text()
    assert training.results == expected
    assert not training.checkpoints


@pytest.mark.parametrize(("accident", "at"), [(in_the_middle_of_a_step, 7), (behind_the_last_checkpoint, 1)])
def test_killed_training_of_few_texts_goes_on_to_the_same_bytes(
    few: Path, doubtful: Path, tiny_base: Path, tmp_path: Path, accident: Callable[[int], None], at: int
) -> None:
    undisturbed, killed = (Training(doubtful, tiny_base, tmp_path / name, few) for name in ("undisturbed", "killed"))
    assert undisturbed.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, undisturbed.said.read_text()
    metrics = read_json(undisturbed.root / "train.json")
    assert metrics["recipe"]["pairs"]
    assert metrics["best_epoch"] == metrics["epochs_run"] == metrics["recipe"]["epochs"] == 20
    assert [row["epoch"] for row in metrics["curve"]] == [4, 8, 12, 16, 20]
    assert metrics["validation_calibrated_loss"] == pytest.approx(metrics["validation_loss"], abs=1e-3)  # as sure as it is right
    assert killed.run(accident, at) == -signal.SIGKILL
    assert killed.run() == 0, killed.said.read_text()
    assert "going on from" in killed.said.read_text()
    assert killed.results == undisturbed.results


def test_ended_training_whose_project_has_moved_gives_the_best_epoch(
    training: Training, expected: dict[str, bytes], doubtful: Path, tiny_base: Path, params_file: Path, tmp_path: Path
) -> None:
    assert training.run(behind_the_last_checkpoint, 1) == -signal.SIGKILL
    moved = Training(doubtful, tiny_base, tmp_path / "moved", params_file)
    (training.root / "models").rename(moved.root / "models")
    assert moved.run() == 0, moved.said.read_text()
    assert "going on from" in moved.said.read_text()
    assert moved.results == expected


def test_training_that_is_killed_again_and_again_goes_on_to_the_same_bytes(training: Training, expected: dict[str, bytes]) -> None:
    for at in (9, 4, 14, 2, 7):
        assert training.run(in_the_middle_of_a_step, at) == -signal.SIGKILL
    assert training.run() == 0, training.said.read_text()
    assert training.results == expected
    client = MlflowClient(training.environment["MLFLOW_TRACKING_URI"])
    (run,) = client.search_runs(["1"])
    assert run.info.status == "FINISHED"
    points = client.get_metric_history(run.info.run_id, "validation_loss")
    told = {point.step: point.value for point in points}
    assert len(points) == len(told)
    curve = read_json(training.root / "train.json")["curve"]
    assert told == pytest.approx({row["epoch"]: row["validation_loss"] for row in curve}, abs=1e-6)


@pytest.mark.parametrize(("accident", "code", "word"), [(at_ctrl_c, 130, "interrupted"), (at_sigterm, 143, "terminated")])
def test_signal_ends_the_training_behind_a_checkpoint(
    training: Training, expected: dict[str, bytes], accident: Callable[[int], None], code: int, word: str
) -> None:
    assert training.run(accident, STEPS + 5, SENTIMENT_CHECKPOINT_SECONDS="3600") == code
    said = training.said.read_text()
    assert f"ERROR: {word}" in said
    assert "the same command goes on with it" in said
    assert "Traceback" not in said
    assert training.checkpoints[-1].name == f"checkpoint-{STEPS + 5}"
    assert training.run() == 0
    assert f"checkpoint-{STEPS + 5}" in training.said.read_text()
    assert training.results == expected


def test_full_disk_keeps_the_checkpoint_before(training: Training, expected: dict[str, bytes]) -> None:
    assert training.run(at_a_full_disk, 3 * 7) == 1
    said = training.said.read_text()
    assert "ERROR: cannot write" in said
    assert "Traceback" not in said
    assert training.run() == 0
    assert "going on from" in training.said.read_text()
    assert training.results == expected


def test_gradient_that_is_no_number_never_reaches_the_weights(training: Training, expected: dict[str, bytes]) -> None:
    assert training.run(with_a_gradient_that_is_no_number, STEPS + 3) == 1
    said = training.said.read_text()
    assert re.search(rf"ERROR: the gradient is not a number in step {STEPS + 3}, whose batch holds the texts of lines \d+, .*: lower", said)
    assert "Traceback" not in said
    assert training.run() == 0, training.said.read_text()
    assert training.results == expected


def slowly(_: int) -> None:
    import torch

    _before(torch.optim.AdamW, "step", 1, lambda *_, **__: time.sleep(10))


def test_same_training_twice_at_a_time_waits_for_the_first_and_takes_what_it_learnt(
    doubtful: Path, tiny_base: Path, params_file: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    first, second = (Training(doubtful, tiny_base, tmp_path / name, params_file) for name in ("first", "second"))
    second.environment["DVC_ROOT"] = str(first.root)  # as two queued experiments of a project have it
    with ThreadPoolExecutor() as together:
        running = together.submit(first.run, slowly)
        while not list(first.root.glob("models/checkpoints/*/mlflow_run")) and not running.done():
            time.sleep(0.05)
        assert second.run() == 0, second.said.read_text()
        assert running.result() == 0, first.said.read_text()
    assert "the same training is under way in another process" in second.said.read_text()
    assert "going on from" in second.said.read_text()
    assert "epoch 1 of" not in second.said.read_text()
    assert first.results == second.results == expected
    assert not first.checkpoints


def test_no_more_than_the_best_and_the_newest_checkpoint_lie_on_disk(training: Training) -> None:
    assert training.run(in_the_middle_of_a_step, 3 * STEPS + 4) == -signal.SIGKILL
    assert 1 <= len(training.checkpoints) <= 2


def test_interval_that_is_no_number_is_refused(training: Training) -> None:
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="often") == 1
    assert "SENTIMENT_CHECKPOINT_SECONDS is 'often'" in training.said.read_text()
