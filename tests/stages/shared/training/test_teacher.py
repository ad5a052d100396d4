"""A student learns from its teacher what wrong labels conceal, and a teacher that cannot teach is refused."""

import json
import shutil
from pathlib import Path

import pytest

from tests.running import read_json, write_params
from tests.stages.training import TINY_TRAINING, Training


@pytest.fixture(scope="module")
def known(tiny_model: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A training whose model classifies every validation text correctly."""
    params_file = write_params(tmp_path_factory.mktemp("params") / "params.yaml", {"train": TINY_TRAINING})
    training = Training(tiny_model, tiny_base, tmp_path_factory.mktemp("known"), params_file)
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.stderr
    assert read_json(training.root / "train.json")["validation_accuracy"] == 1
    return training


def loss_against_truth(tiny_model: Path, tiny_base: Path, root: Path, teacher: Path | None) -> float:
    """Train on labels of which a third is wrong; return the loss on correct labels."""
    splits = root / "splits"
    shutil.copytree(tiny_model, splits, ignore=shutil.ignore_patterns("final", "serving"))
    lines = (tiny_model / "train.csv").read_text("utf-8").splitlines()[1:]
    rows = [(text, int(label)) for text, label in (line.rsplit(",", 1) for line in lines)]
    wrong = [f"{text},{1 - label if number % 3 == 0 else label}" for number, (text, label) in enumerate(rows)]
    (splits / "train.csv").write_text("\n".join(["text,label", *wrong]) + "\n", "utf-8")
    params_file = write_params(root / "params.yaml", {"train": TINY_TRAINING | ({"teacher": str(teacher)} if teacher else {})})
    training = Training(splits, tiny_base, root / "root", params_file, teacher)
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.stderr
    return float(read_json(training.root / "train.json")["validation_loss"])


def test_student_learns_what_wrong_labels_conceal(tiny_model: Path, tiny_base: Path, known: Training, tmp_path: Path) -> None:
    alone = loss_against_truth(tiny_model, tiny_base, tmp_path / "alone", None)
    distilled = loss_against_truth(tiny_model, tiny_base, tmp_path / "distilled", known.root / "final")
    assert distilled < 0.8 * alone
    assert "teacher" in read_json(tmp_path / "distilled/root/final/lineage.json")
    assert "teacher" not in read_json(tmp_path / "alone/root/final/lineage.json")


def test_logits_of_a_teacher_have_the_order_of_our_classes(known: Training, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from stages.shared.training.machine import Machine
    from stages.shared.training.teacher import model_logits

    turned = tmp_path / "turned"
    shutil.copytree(known.root / "final", turned)
    config = read_json(turned / "config.json") | {"id2label": {"0": "positive", "1": "negative"}}
    (turned / "config.json").write_text(json.dumps(config), "utf-8")
    weights = load_file(turned / "model.safetensors")
    weights |= {name: weights[name].flip(0).contiguous() for name in ("classifier.weight", "classifier.bias")}
    save_file(weights, turned / "model.safetensors", {"format": "pt"})
    arguments = (["the film was good", "the food was awful"], ("negative", "positive"), Machine("cpu", "fp32", threads=1, processes=1))
    ours, theirs = model_logits(known.root / "final", *arguments), model_logits(turned, *arguments)
    torch.testing.assert_close(theirs, ours)
    assert ours.argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ("no folder", "train.teacher is"),
        ("a file", "train.teacher is"),
        ("no weights", "cannot be loaded"),
        ("broken weights", "cannot be loaded"),
        ("other shapes", "cannot be loaded"),
        ("other classes", "has the classes no, yes, not negative, positive: train it on these"),
    ],
)
def test_teacher_that_cannot_teach_is_refused(
    tiny_model: Path, tiny_base: Path, known: Training, tmp_path: Path, problem: str, sentence: str
) -> None:
    teacher = tmp_path / "teacher"
    if problem != "no folder":
        shutil.copytree(known.root / "final", teacher)
        config, weights = teacher / "config.json", teacher / "model.safetensors"
        if problem == "a file":
            teacher = weights
        elif problem == "no weights":
            weights.unlink()
        elif problem == "broken weights":
            weights.write_bytes(weights.read_bytes()[:1000])
        else:
            change = {"dim": 64} if problem == "other shapes" else {"id2label": {"0": "no", "1": "yes"}}
            config.write_text(json.dumps(read_json(config) | change), "utf-8")
    params_file = write_params(tmp_path / "params.yaml", {"train": TINY_TRAINING | {"teacher": str(teacher)}})
    training = Training(tiny_model, tiny_base, tmp_path / "root", params_file, teacher)
    assert training.run() == 1
    assert sentence in training.stderr
    assert "Traceback" not in training.stderr
