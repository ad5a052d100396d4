"""With `batch_size: auto`, a step that does not fit into memory is computed in micro-batches."""

import signal
from pathlib import Path

import numpy as np
import pytest

from tests.running import ROOT, read_json, write_params
from tests.stages.accidents import with_little_memory, within_a_step
from tests.stages.training import Training

TRAINING = {"epochs": 1, "threads": 1, "precision": "fp32", "learning_rate": 1e-4}
ENOUGH = 760  # MB: for a micro-batch, but not for a step of 16 texts with 128 tokens


def within_a_step_with_little_memory(at: int) -> None:
    with_little_memory(ENOUGH)
    within_a_step(at)


@pytest.fixture(scope="module")
def long_texts(real_bundle: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Splits with texts of 128 tokens: 32 and 8 of them."""
    folder = tmp_path_factory.mktemp("long_texts")
    for name, texts in (("train", 32), ("validation", 8)):
        rows = [
            f"{number} the film was {word} {'and ' * 130},{word == 'good':d}" for number in range(texts // 2) for word in ("good", "bad")
        ]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    for name in ("classes.json", "preprocess.json"):
        (folder / name).write_bytes((tiny_model / name).read_bytes())
    return folder


def training(long_texts: Path, root: Path, **changes: object) -> Training:
    params_file = write_params(root.with_suffix(".yaml"), {"train": {**TRAINING, **changes}})
    return Training(long_texts, ROOT / "models/base", root, params_file)


def test_step_in_micro_batches_has_the_loss_of_a_step_at_once(long_texts: Path, tmp_path: Path) -> None:
    at_once, divided = (training(long_texts, tmp_path / name, batch_size="auto") for name in ("at_once", "divided"))
    assert at_once.run() == 0, at_once.stderr
    assert divided.run(with_little_memory, ENOUGH) == 0, divided.stderr
    assert "does not fit into memory at once" in divided.stderr
    expected, found = (read_json(one.root / "train.json") for one in (at_once, divided))
    assert expected["recipe"]["parts_of_a_step"] == 1 < found["recipe"]["parts_of_a_step"]
    assert found["train_loss"] == pytest.approx(expected["train_loss"], abs=1e-3)


def test_contrastive_training_that_no_longer_fits_after_a_kill_starts_over_with_cross_entropy(long_texts: Path, tmp_path: Path) -> None:
    few = training(long_texts, tmp_path / "root", batch_size="auto", epochs="auto", learning_rate=1e-12, early_stopping_patience=1)
    assert few.run(within_a_step, 2) == -signal.SIGKILL
    assert few.checkpoints
    assert few.run(within_a_step_with_little_memory, 3) == -signal.SIGKILL, few.stderr
    assert "contrastive training is off: a step does not fit into memory at once" in few.stderr
    assert few.run() == 0, few.stderr
    assert "contrastive training is off: this training began with cross-entropy" in few.stderr
    assert "resuming from" in few.stderr
    recipe = read_json(few.root / "train.json")["recipe"]
    assert not recipe["pairs"]
    assert recipe["parts_of_a_step"] > 1


@pytest.mark.parametrize(
    ("texts", "processes", "fitting", "micro_batches"),
    [(32, 2, [100, 3], 4), (32, 2, [100, 100], 1), (10, 1, [1], 8)],  # ten texts cannot make sixteen micro-batches
)
def test_process_with_the_least_memory_decides_the_number_of_micro_batches(
    texts: int, processes: int, fitting: list[int], micro_batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.shared.batches import Texts
    from stages.shared.training import micro_batches as module
    from stages.shared.training.machine import Machine
    from stages.shared.training.recipe import Recipe

    monkeypatch.setattr(module, "_batch_size_that_fits", lambda model, items, machine: fitting[0])
    monkeypatch.setattr(module, "gather_object", lambda ours: [*ours, *fitting[1:]])
    four_tokens_each = Texts(np.zeros(4 * texts, np.int32), np.arange(1, texts + 1) * 4, np.zeros(texts, np.int64))
    machine = Machine("cpu", "fp32", threads=1, processes=processes)
    recipe = Recipe(1, 16, 1e-4)
    fit = module.texts_that_fit(None, four_tokens_each, recipe, machine)
    assert module.micro_batches_of(four_tokens_each, recipe, machine, fit) == micro_batches


def test_memory_for_less_than_one_text_is_an_error_message(long_texts: Path, tmp_path: Path) -> None:
    failed = training(long_texts, tmp_path / "root", batch_size="auto")
    assert failed.run(with_little_memory, 100) == 1
    assert "ERROR: out of memory" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_given_batch_size_that_does_not_fit_is_an_error_message(long_texts: Path, tmp_path: Path) -> None:
    failed = training(long_texts, tmp_path / "root", batch_size=16)
    assert failed.run(with_little_memory, ENOUGH) == 1
    assert "ERROR: out of memory: set train.batch_size to auto or lower it" in failed.stderr
    assert "Traceback" not in failed.stderr
