"""Several processes train as one does: equal steps, equal losses, one writer."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import BuiltOnce
from tests.running import ROOT, read_json, run_command, write_params
from tests.stages.test_train import environment, training

TWO = f"{Path(sys.executable).parent}/torchrun --nproc-per-node 2"
# the precision of the params counts, not this one
ACCELERATE = f"{Path(sys.executable).parent}/accelerate launch --cpu --num_processes 1 --num_machines 1 --mixed_precision bf16"
TRAINING = {"batch_size": 16, "epochs": 2, "learning_rate": 0.001, "threads": 1, "precision": "fp32"}


@pytest.fixture(scope="session")
def base(real_bundle: Path, built_once: BuiltOnce) -> Path:
    """The project's own base model with its two lowest layers: it learns at once, and the tiny one would not."""

    def build(folder: Path) -> None:
        from transformers import AutoTokenizer, DistilBertModel

        whole = real_bundle.parent / "base"
        DistilBertModel.from_pretrained(whole, n_layers=2).save_pretrained(folder)
        AutoTokenizer.from_pretrained(whole).save_pretrained(folder)

    return built_once("two_layers", build)


@pytest.fixture(scope="session")
def splits(real_bundle: Path, base: Path, tiny_model: Path, built_once: BuiltOnce) -> Path:
    """Some texts of the sample, and the base model beside them."""

    def build(folder: Path) -> None:
        for name, texts in (("train", 96), ("validation", 48)):
            lines = (ROOT / "data" / f"{name}.csv").read_text("utf-8").splitlines(keepends=True)
            (folder / f"{name}.csv").write_text("".join(lines[: texts + 1]), "utf-8")
        for name in ("classes.json", "preprocess.json"):
            shutil.copy(tiny_model / name, folder / name)
        (folder / "base").symlink_to(base)

    return built_once("launch_splits", build)


@pytest.fixture(autouse=True)
def _warm_launches(warm_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torchrun fork its processes from a warm one."""
    monkeypatch.setenv("PYTHON_EXEC", f"{warm_path.partition(os.pathsep)[0]}/python")


def curve(splits: Path, root: Path, launch: str = "", base: Path | None = None, **changes: object) -> list[float]:
    params_file = write_params(root.with_suffix(".yaml"), {"train": {**TRAINING, **changes}})
    done = run_command(*training(splits, base or splits / "base", root, params_file), **environment(root), SENTIMENT_LAUNCH=launch)
    assert done.returncode == 0, done.stderr
    metrics = read_json(root / "train.json")
    assert metrics["machine"]["processes"] == (2 if launch == TWO else 1)
    last = metrics["recipe"]["epochs"]
    assert done.stderr.count(f"epoch {last} of at most {last}") == 1
    return [row[name] for row in metrics["curve"] for name in ("train_loss", "validation_loss")]


@pytest.fixture(scope="session")
def alone(splits: Path, built_once: BuiltOnce) -> list[float]:
    """The losses of one process."""

    def build(folder: Path) -> None:
        (folder / "losses.json").write_text(json.dumps(curve(splits, folder / "root")), "utf-8")

    return json.loads((built_once("alone", build) / "losses.json").read_text("utf-8"))


def test_two_processes_have_the_losses_of_one(splits: Path, alone: list[float], tmp_path: Path) -> None:
    import mlflow

    root = tmp_path / "root"
    both = curve(splits, root, TWO)
    assert both == pytest.approx(alone, abs=1e-3)
    assert max(alone) - min(alone) > 0.01  # the losses do move
    runs = mlflow.MlflowClient(environment(root)["MLFLOW_TRACKING_URI"]).search_runs(["1"])
    assert len(runs) == 1
    assert not [folder for folder in root.glob("models/checkpoints/*") if folder.is_dir()]


def test_contrastive_training_in_two_processes_has_the_losses_of_one(splits: Path, tmp_path: Path) -> None:
    left_open = {"epochs": "auto", "batch_size": 48, "learning_rate": "auto", "max_length": 16}
    complete = ROOT / "models/base"  # two layers do not tell the few texts apart
    few = tmp_path / "few"
    few.mkdir()
    for name in ("classes.json", "preprocess.json"):
        shutil.copy(splits / name, few)
    for name, texts in (("train", 32), ("validation", 24)):
        lines = (splits / f"{name}.csv").read_text("utf-8").splitlines(keepends=True)
        (few / f"{name}.csv").write_text("".join(lines[: texts + 1]), "utf-8")
    alone, both = (curve(few, tmp_path / name, launch, complete, **left_open) for name, launch in (("alone", ""), ("both", TWO)))
    assert len(alone) == 10  # five evaluations
    assert both == pytest.approx(alone, abs=1e-3)
    assert max(alone[::2]) - min(alone[::2]) > 0.01


def test_two_processes_agree_on_what_fits_into_memory(splits: Path, tmp_path: Path) -> None:
    alone, both = (curve(splits, tmp_path / name, launch, epochs=1, batch_size="auto") for name, launch in (("alone", ""), ("both", TWO)))
    assert both == pytest.approx(alone, abs=1e-3)


def test_accelerate_launches_the_stage(splits: Path, alone: list[float], tmp_path: Path) -> None:
    assert curve(splits, tmp_path / "root", ACCELERATE) == alone


def interrupted(splits: Path, root: Path, interrupt: Callable[[psutil.Process, list[psutil.Process]], None]) -> str:
    """Train in two processes, interrupt the launcher or one of them after the first checkpoint, and return what they logged."""
    command = training(splits, splits / "base", root, write_params(root.with_suffix(".yaml"), {"train": TRAINING}))
    variables = (
        os.environ | environment(root) | {"PYTHON_EXEC": sys.executable, "SENTIMENT_LAUNCH": TWO, "SENTIMENT_CHECKPOINT_SECONDS": "0"}
    )
    with (root / "stderr").open("w") as stderr, subprocess.Popen(command, cwd=ROOT, env=variables, stderr=stderr) as launcher:
        while not list(root.glob("models/checkpoints/*/checkpoint-*/whole")) and launcher.poll() is None:
            time.sleep(0.01)
        workers = psutil.Process(launcher.pid).children()
        interrupt(psutil.Process(launcher.pid), workers)
        assert launcher.wait(120) != 0
    assert not psutil.wait_procs(workers, timeout=60)[1]
    return (root / "stderr").read_text()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_training_ends_if_one_process_is_killed_and_can_be_resumed(splits: Path, alone: list[float], tmp_path: Path, rank: str) -> None:
    root = tmp_path / "root"
    stderr = interrupted(splits, root, lambda _, workers: next(worker for worker in workers if worker.environ().get("RANK") == rank).kill())
    assert "epoch 2 of at most 2" not in stderr
    assert curve(splits, root, TWO) == pytest.approx(alone, abs=1e-3)
    assert not [folder for folder in root.glob("models/checkpoints/*") if folder.is_dir()]


def test_stopped_training_in_two_processes_makes_a_checkpoint_and_can_be_resumed(splits: Path, alone: list[float], tmp_path: Path) -> None:
    stderr = interrupted(splits, tmp_path, lambda launcher, _: launcher.terminate())
    assert "the training is kept: run the same command again to resume it" in stderr
    assert "epoch 2 of at most 2" not in stderr
    assert curve(splits, tmp_path, TWO) == pytest.approx(alone, abs=1e-3)


def test_steps_in_micro_batches_have_the_losses_of_steps_at_once(splits: Path, alone: list[float], tmp_path: Path) -> None:
    accumulated = curve(splits, tmp_path / "root", batch_size=4, gradient_accumulation=4)
    assert accumulated == pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize("launch", ["mpirun -n 2", 'torchrun "'])
def test_launcher_that_cannot_be_run_is_an_error_message(tiny_model: Path, tiny_base: Path, tmp_path: Path, launch: str) -> None:
    params_file = write_params(tmp_path / "params.yaml", {"train": TRAINING})
    done = run_command(*training(tiny_model, tiny_base, tmp_path, params_file), **environment(tmp_path), SENTIMENT_LAUNCH=launch)
    assert done.returncode == 1
    assert "ERROR: SENTIMENT_LAUNCH cannot be run" in done.stderr
    assert launch in done.stderr
    assert "Traceback" not in done.stderr


def test_step_too_small_for_the_processes_is_refused(splits: Path, tiny_base: Path, tmp_path: Path) -> None:
    params_file = write_params(tmp_path / "params.yaml", {"train": {**TRAINING, "batch_size": 1, "max_length": 32}})
    done = run_command(*training(splits, tiny_base, tmp_path, params_file), **environment(tmp_path), SENTIMENT_LAUNCH=TWO)
    assert done.returncode != 0
    assert "ERROR: a step of 1 texts is too small for 2 processes with 1 micro-batches each: raise train.batch_size" in done.stderr


def test_texts_too_few_for_the_micro_batches_of_a_step_are_refused(splits: Path, tiny_base: Path, tmp_path: Path) -> None:
    params_file = write_params(tmp_path / "params.yaml", {"train": {**TRAINING, "gradient_accumulation": 100, "max_length": 32}})
    done = run_command(*training(splits, tiny_base, tmp_path, params_file), **environment(tmp_path))
    assert done.returncode == 1
    assert "96 texts are too few for 100 micro-batches a step: lower train.gradient_accumulation" in done.stderr
