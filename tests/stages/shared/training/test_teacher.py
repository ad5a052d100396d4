"""That class weights and a teacher do what they are for: rare classes are found, and a student learns what only the teacher knows."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import read_json, write_params
from tests.stages.training import Training

TRAINING = {
    "precision": "fp32",
    "max_length": 32,
    "batch_size": 8,
    "learning_rate": 0.01,
    "epochs": 12,
    "early_stopping_patience": 12,
    "token_dropout": 0.0,
    "threads": 1,
}


def table(file: Path, rows: list[tuple[str, int]]) -> None:
    file.write_text("\n".join(["text,label", *(f"{text},{label}" for text, label in rows)]) + "\n", "utf-8")


@pytest.fixture(scope="module")
def known(tiny_model: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A model that has learnt the tiny table, with splits for it."""
    params_file = write_params(tmp_path_factory.mktemp("params") / "params.yaml", {"train": TRAINING})
    training = Training(tiny_model, tiny_base, tmp_path_factory.mktemp("known"), params_file)
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.said.read_text()
    assert read_json(training.root / "train.json")["validation_accuracy"] == 1
    return training


def loss_against_truth(tiny_model: Path, tiny_base: Path, root: Path, teacher: Path | None) -> float:
    """Train on labels of which a third is wrong, and return the loss on right ones."""
    splits = root / "splits"
    shutil.copytree(tiny_model, splits, ignore=shutil.ignore_patterns("final", "serving"))
    lines = (tiny_model / "train.csv").read_text("utf-8").splitlines()[1:]
    rows = [(text, int(label)) for text, label in (line.rsplit(",", 1) for line in lines)]
    table(splits / "train.csv", [(text, 1 - label if number % 3 == 0 else label) for number, (text, label) in enumerate(rows)])
    params_file = write_params(root / "params.yaml", {"train": TRAINING | ({"teacher": str(teacher)} if teacher else {})})
    training = Training(splits, tiny_base, root / "root", params_file, teacher)
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.said.read_text()
    return float(read_json(training.root / "train.json")["validation_loss"])


@pytest.mark.parametrize("asked", [{}, {"class_weights": [1, 2]}, {"label_smoothing": 0.1}, {"epochs": 2}, {"batch_size": 4}])
def test_few_texts_are_learnt_from_in_pairs_but_where_more_is_asked_for(
    tiny_model: Path, tiny_base: Path, tmp_path: Path, asked: dict[str, object]
) -> None:
    params_file = write_params(tmp_path / "params.yaml", {"train": TRAINING | {"epochs": "auto"} | asked})
    training = Training(tiny_model, tiny_base, tmp_path / "root", params_file)
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.said.read_text()
    assert read_json(training.root / "train.json")["recipe"]["pairs"] == (asked.keys() <= {"class_weights"})


def test_student_learns_from_the_teacher_what_wrong_labels_hide(tiny_model: Path, tiny_base: Path, known: Training, tmp_path: Path) -> None:
    alone = loss_against_truth(tiny_model, tiny_base, tmp_path / "alone", None)
    teacher_logits = loss_against_truth(tiny_model, tiny_base, tmp_path / "teacher_logits", known.root / "final")
    assert teacher_logits < 0.8 * alone
    assert "teacher" in read_json(tmp_path / "teacher_logits/root/final/lineage.json")
    assert "teacher" not in read_json(tmp_path / "alone/root/final/lineage.json")


def test_answers_of_a_teacher_come_in_the_order_of_our_classes(known: Training, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from stages.shared.training.teacher import answers

    turned = tmp_path / "turned"
    shutil.copytree(known.root / "final", turned)
    config = read_json(turned / "config.json") | {"id2label": {"0": "positive", "1": "negative"}}
    (turned / "config.json").write_text(json.dumps(config), "utf-8")
    weights = load_file(turned / "model.safetensors")
    weights |= {name: weights[name].flip(0).contiguous() for name in ("classifier.weight", "classifier.bias")}
    save_file(weights, turned / "model.safetensors", {"format": "pt"})
    asked = (["the film was good", "the food was awful"], ("negative", "positive"), {"device": "cpu", "precision": "fp32"})
    ours, theirs = answers(known.root / "final", *asked), answers(turned, *asked)
    torch.testing.assert_close(theirs, ours)
    assert ours.argmax(1).tolist() == [1, 0]


def test_label_smoothing_of_params_reaches_the_loss(tiny_model: Path, tiny_base: Path, known: Training, tmp_path: Path) -> None:
    params_file = write_params(tmp_path / "params.yaml", {"train": TRAINING | {"label_smoothing": 0.2}})
    smooth = Training(tiny_model, tiny_base, tmp_path / "root", params_file)
    assert smooth.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, smooth.said.read_text()
    sure, unsure = (min(row["train_loss"] for row in read_json(one.root / "train.json")["curve"]) for one in (known, smooth))
    assert sure < 0.1
    assert unsure > 0.325  # the entropy of 0.9 and 0.1, which no answer goes below


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ("no folder", "train.teacher is"),
        ("a file", "train.teacher is"),
        ("no weights", "cannot be loaded"),
        ("broken weights", "cannot be loaded"),
        ("other shapes", "cannot be loaded"),
        ("other classes", "knows the classes no, yes, and not negative, positive"),
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
    params_file = write_params(tmp_path / "params.yaml", {"train": TRAINING | {"teacher": str(teacher)}})
    training = Training(tiny_model, tiny_base, tmp_path / "root", params_file, teacher)
    assert training.run() == 1
    assert sentence in training.said.read_text()
    assert "Traceback" not in training.said.read_text()


def f1_with_a_rare_class(tiny_model: Path, tiny_base: Path, root: Path, weights: object, changes: dict[str, object]) -> float:
    """Train on texts of which one in ten is negative, and that the tiny model cannot tell for sure; return macro F1."""
    splits = root / "splits"
    splits.mkdir(parents=True)
    shutil.copy(tiny_model / "preprocess.json", splits)
    words = ("film", "food", "phone", "staff")
    rows = [(f"the {words[number % 4]} was good {number}", int(number % 10 != 0)) for number in range(200)]
    rows += [(f"the {words[number % 4]} was bad {number}", int(number % 10 > 2)) for number in range(200)]
    table(splits / "train.csv", rows)
    table(splits / "validation.csv", [(text, int(" good " in text)) for text, _ in rows[::5]])
    params_file = write_params(root / "params.yaml", {"train": TRAINING | {"class_weights": weights} | changes})
    training = Training(splits, tiny_base, root / "root", params_file)
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.said.read_text()
    return max(row["validation_f1"] for row in read_json(training.root / "train.json")["curve"])


@pytest.mark.parametrize("changes", [{}, {"epochs": "auto"}], ids=["by label", "in pairs"])
def test_balanced_weights_find_the_rare_class(tiny_model: Path, tiny_base: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    plain = f1_with_a_rare_class(tiny_model, tiny_base, tmp_path / "none", "none", changes)
    balanced = f1_with_a_rare_class(tiny_model, tiny_base, tmp_path / "balanced", "balanced", changes)
    assert balanced > plain + 0.1
