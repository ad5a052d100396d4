"""A training is repeatable, keeps its best epoch, and writes a model that others can load."""

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.inference.cpu import cpu_name
from stages import train
from stages.shared import params, splits
from tests.running import NONE, ROOT, read_json, run_command, write_params

PATIENCE, EPOCHS = 2, 8
# fp32, so that torch computes the logged losses again
LEARNING = {"max_length": 32, "batch_size": 8, "learning_rate": 0.002, "epochs": EPOCHS, "threads": 1, "precision": "fp32"}


def training(tiny_model: Path, base: Path, root: Path, params_file: Path) -> list[str]:
    """Return the command that trains into `root`."""
    files = {
        "train": tiny_model / "train.csv",
        "validation": tiny_model / "validation.csv",
        "classes": tiny_model / "classes.json",
        "base": base,
        "params": params_file,
        "teacher": NONE,
    }
    files |= {"model": root / "final", "metrics": root / "compared.json", "details": root / "train.json"}
    files |= {"picture": root / "curve.png", "preprocess-details": tiny_model / "preprocess.json"}
    return [sys.executable, "-m", "stages.train", *(part for flag, file in files.items() for part in (f"--{flag}", str(file)))]


def environment(root: Path) -> dict[str, str]:
    root.mkdir(parents=True, exist_ok=True)
    return {"DVC_ROOT": str(root), "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}"}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def learning_params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_params(tmp_path_factory.mktemp("params") / "params.yaml", {"train": {**LEARNING, "early_stopping_patience": PATIENCE}})


@pytest.fixture(scope="module")
def trained(doubtful: Path, tiny_base: Path, learning_params: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a training that stopped early and was not interrupted."""
    root = tmp_path_factory.mktemp("trained")
    done = run_command(*training(doubtful, tiny_base, root, learning_params), **environment(root))
    assert done.returncode == 0, done.stderr
    return root


def test_model_loads_as_a_hugging_face_classifier_with_the_class_names(tiny_model: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(tiny_model / "final")
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert model.config.label2id == {"negative": 0, "positive": 1}
    tokenizer = AutoTokenizer.from_pretrained(tiny_model / "final")
    assert tokenizer.model_max_length == 32
    assert model(**tokenizer("the film was good", return_tensors="pt", return_token_type_ids=False)).logits.shape == (1, 2)


def test_model_folder_holds_no_pickle_and_no_path_of_this_machine(tiny_model: Path, tiny_base: Path) -> None:
    files = contents(tiny_model / "final")
    assert sorted(files) == ["config.json", "lineage.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    for place in (tiny_model, tiny_base, ROOT, Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())):
        assert not [name for name, content in files.items() if f"{place}/".encode() in content]


def test_metrics_name_the_best_epoch_the_machine_and_the_coverage(trained: Path) -> None:
    metrics = read_json(trained / "train.json")
    scores = {"train_loss", "validation_loss", "validation_calibrated_loss", "validation_accuracy", "validation_f1"}
    assert set(metrics) == {"best_epoch", "epochs_run", "curve", "recipe", "machine", "coverage", "vocabulary", *scores}
    assert metrics["recipe"] == {"epochs": EPOCHS, "texts_a_step": 8, "learning_rate": 0.002, "parts_of_a_step": 1, "pairs": False}
    machine = {"device": metrics["machine"]["device"], "precision": "fp32", "threads": 1, "processes": 1}
    assert metrics["machine"] == machine | {"cpu": cpu_name()}
    assert any(letter.isalnum() for letter in cpu_name())
    assert metrics["coverage"] == {"unknown_share": 0, "single_character_share": 0}


def test_training_learns_the_tiny_table(tiny_model: Path) -> None:
    assert read_json(tiny_model / "train.json")["validation_accuracy"] == 1


def test_learning_curve_has_a_row_for_each_epoch_and_training_stops_early(trained: Path) -> None:
    metrics = read_json(trained / "train.json")
    rows = metrics["curve"]
    assert [row["epoch"] for row in rows] == list(range(1, metrics["epochs_run"] + 1))
    losses = [row["validation_calibrated_loss"] for row in rows]
    assert losses[metrics["best_epoch"] - 1] == min(losses)
    assert metrics["epochs_run"] == metrics["best_epoch"] + PATIENCE < EPOCHS


def test_kept_weights_are_those_of_the_best_epoch(trained: Path, doubtful: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    frame = splits.read_split(doubtful / "validation.csv")
    encoded = AutoTokenizer.from_pretrained(trained / "final")(
        frame["text"].tolist(), padding=True, return_tensors="pt", return_token_type_ids=False
    )
    with torch.inference_mode():
        model = AutoModelForSequenceClassification.from_pretrained(trained / "final")
        loss = model(**encoded, labels=torch.tensor(frame["label"].tolist())).loss
    assert loss.item() == pytest.approx(read_json(trained / "train.json")["validation_loss"], abs=1e-5)


def test_training_again_gives_the_same_bytes_and_leaves_no_checkpoint(tiny_model: Path, tiny_base: Path, tmp_path: Path) -> None:
    done = run_command(*training(tiny_model, tiny_base, tmp_path, tiny_model / "params.yaml"), **environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "final") == contents(tiny_model / "final")
    for name in ("train.json", "curve.png"):
        assert (tmp_path / name).read_bytes() == (tiny_model / name).read_bytes()
    assert not [folder for folder in tmp_path.glob("models/checkpoints/*") if folder.is_dir()]
    assert not list(tmp_path.glob(".*.partial"))


def test_hash_of_the_params_covers_the_class_names_and_the_machine(tiny_model: Path, tiny_base: Path) -> None:
    from stages.shared.training.machine import Machine

    settings = params.load(tiny_model / "params.yaml", "train", train.TrainParams)
    inputs = {"train": tiny_model / "train.csv", "validation": tiny_model / "validation.csv", "base": tiny_base, "teacher": NONE}
    outputs = {name: tiny_model / name for name in ("params", "classes", "model", "metrics", "details", "picture", "preprocess_details")}
    machine = Machine("cpu", "bf16", threads=2, processes=1)
    found = train.hashes(settings, ("negative", "positive"), machine, train.Paths(**inputs, **outputs))
    covered = {"classes": ["negative", "positive"], "machine": {"device": "cpu", "precision": "bf16", "threads": 2, "processes": 1}}
    text = json.dumps({**settings.model_dump(), **covered}, sort_keys=True, ensure_ascii=False)
    assert found["params"] == hashlib.sha256(text.encode()).hexdigest()
    assert sorted(found) == ["base", "params", "train", "validation"]


def test_fp16_without_a_gpu_is_refused_with_an_error_message(
    run_stage: Callable, tiny_model: Path, tiny_base: Path, tmp_path: Path
) -> None:
    done = run_stage(
        "train", params={"train": {"precision": "fp16"}}, train=tiny_model / "train.csv", validation=tiny_model / "validation.csv",
        classes=tiny_model / "classes.json", base=tiny_base, teacher=NONE, model=tmp_path / "final", metrics=tmp_path / "compared.json",
        details=tmp_path / "train.json", picture=tmp_path / "curve.png", preprocess_details=tiny_model / "preprocess.json",
    )  # fmt: skip
    assert done.returncode == 1
    assert "train.precision is 'fp16'" in done.stderr
    assert "Traceback" not in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]


def test_full_disk_is_an_error_message_and_leaves_nothing_half_written(
    large_model: Path, small_disk: dict[str, str], tmp_path: Path
) -> None:
    command = training(large_model, large_model / "base", tmp_path, large_model / "params.yaml")
    done = run_command(*command, **environment(tmp_path), **small_disk)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ERROR: cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "final").exists()
    assert not (tmp_path / "train.json").exists()
    assert not list(tmp_path.glob(".*.partial"))


def test_failure_after_the_last_epoch_does_not_cost_the_training(tiny_model: Path, tiny_base: Path, tmp_path: Path) -> None:
    command = training(tiny_model, tiny_base, tmp_path, tiny_model / "params.yaml")
    (tmp_path / ".train.json.partial").mkdir()  # in the way of the metrics
    failed = run_command(*command, **environment(tmp_path))
    assert failed.returncode != 0
    assert not (tmp_path / "final").exists()
    (tmp_path / ".train.json.partial").rmdir()
    done = run_command(*command, **environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "resuming from" in done.stderr
    assert "epoch 1 of" not in done.stderr
