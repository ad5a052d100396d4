"""That a training which would take all memory is told so, and with `batch_size: auto` takes less."""

import signal
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, read_json, write_params
from tests.stages.shared.training.test_checkpoints import in_the_middle_of_a_step
from tests.stages.training import Training

TRAINING = {"epochs": 1, "threads": 1, "precision": "fp32", "learning_rate": 1e-4}
ENOUGH = 550  # MB for a part of a step of 16 texts of 128 tokens, and not for a whole one
FREE = 1 << 30  # bytes of the machine


def so_many_megabytes(at: int) -> None:
    """Let the training believe that so much is free when it begins."""
    from stages.shared.training import memory

    limit = memory._taken_bytes() + (at << 20)
    memory.free_bytes = lambda: limit - memory._taken_bytes()


def in_a_step_with_little_memory(at: int) -> None:
    so_many_megabytes(ENOUGH)
    in_the_middle_of_a_step(at)


@pytest.fixture(scope="module")
def long_texts(real_bundle: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Splits of 32 texts that fill all 128 tokens."""
    folder = tmp_path_factory.mktemp("long_texts")
    for name, texts in (("train", 32), ("validation", 8)):
        rows = [
            f"{number} the film was {word} {'and ' * 130},{word == 'good':d}" for number in range(texts // 2) for word in ("good", "bad")
        ]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    (folder / "preprocess.json").write_bytes((tiny_model / "preprocess.json").read_bytes())
    return folder


def training(long_texts: Path, root: Path, **changes: object) -> Training:
    params_file = write_params(root.with_suffix(".yaml"), {"train": {**TRAINING, **changes}})
    return Training(long_texts, ROOT / "models/base", root, params_file)


def test_step_that_does_not_fit_is_computed_in_parts_and_learns_the_same(long_texts: Path, tmp_path: Path) -> None:
    whole, parted = (
        training(long_texts, tmp_path / "whole", batch_size="auto"),
        training(long_texts, tmp_path / "parted", batch_size="auto"),
    )
    assert whole.run() == 0, whole.said.read_text()
    assert parted.run(so_many_megabytes, ENOUGH) == 0, parted.said.read_text()
    assert "does not fit into memory at once" in parted.said.read_text()
    expected, found = (read_json(one.root / "train.json") for one in (whole, parted))
    assert expected["recipe"]["parts_of_a_step"] == 1 < found["recipe"]["parts_of_a_step"]
    assert found["train_loss"] == pytest.approx(expected["train_loss"], abs=1e-3)


def test_pairs_that_no_longer_fit_after_a_kill_are_learnt_from_by_label(long_texts: Path, tmp_path: Path) -> None:
    few = training(long_texts, tmp_path / "root", batch_size="auto", epochs="auto", learning_rate=1e-12, early_stopping_patience=1)
    assert few.run(in_the_middle_of_a_step, 2) == -signal.SIGKILL
    assert few.checkpoints
    assert few.run(in_a_step_with_little_memory, 3) == -signal.SIGKILL
    assert "could be learnt from in pairs (docs/quality.md), and are not: a step does not fit into memory at once" in few.said.read_text()
    assert few.run() == 0, few.said.read_text()
    assert "and are not: it has begun so" in few.said.read_text()
    assert "going on from" in few.said.read_text()
    recipe = read_json(few.root / "train.json")["recipe"]
    assert not recipe["pairs"]
    assert recipe["parts_of_a_step"] > 1


def test_given_step_that_does_not_fit_is_a_sentence(long_texts: Path, tmp_path: Path) -> None:
    failed = training(long_texts, tmp_path / "root", batch_size=16)
    assert failed.run(so_many_megabytes, ENOUGH) == 1
    said = failed.said.read_text()
    assert "ERROR: out of memory: set train.batch_size to auto or lower it" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("texts", "processes", "fitting", "parts"),
    [(32, 2, [100, 3], 4), (32, 2, [100, 100], 1), (10, 1, [1], 8)],  # ten texts do not make sixteen parts
)
def test_process_with_the_least_memory_decides_in_how_many_parts(
    texts: int, processes: int, fitting: list[int], parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.shared.batches import Texts
    from stages.shared.training import memory
    from stages.shared.training.recipe import Recipe

    monkeypatch.setattr(memory, "_texts_that_fit", lambda model, items, machine: fitting[0])
    monkeypatch.setattr(memory, "gather_object", lambda ours: [*ours, *fitting[1:]])
    four_tokens_each = Texts(np.zeros(4 * texts, np.int32), np.arange(1, texts + 1) * 4, np.zeros(texts, np.int64))
    assert memory.parts_that_fit(None, four_tokens_each, Recipe(1, 16, 1e-4), {"processes": processes}) == parts


@pytest.mark.parametrize(
    ("names", "limit", "free"),
    [
        (("memory.max", "memory.current", "inactive_file"), "1000", 400),
        (("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"), "1000", 400),
        (("memory.max", "memory.current", "inactive_file"), "max", FREE),
    ],
)
def test_container_gives_what_is_left_of_its_limit_and_what_its_file_cache_holds(
    names: tuple[str, str, str], limit: str, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.shared.training import memory

    most, taken, cache = names
    (tmp_path / "memory").mkdir()
    (tmp_path / most).write_text(f"{limit}\n", "utf-8")
    (tmp_path / taken).write_text("900\n", "utf-8")
    (tmp_path / most).with_name("memory.stat").write_text(f"active_file 50\n{cache} 300\n", "utf-8")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_kilobytes", lambda file, name: FREE)
    assert memory.free_bytes() == free


def test_group_within_groups_gives_no_more_than_each_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.shared.training import memory

    for group, limit in (("", "max"), ("slurm", "2000"), ("slurm/job/step", "max"), ("slurm/job", "1500")):
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "memory.max").write_text(limit, "utf-8")
        (tmp_path / group / "memory.current").write_text("900", "utf-8")
        (tmp_path / group / "memory.stat").write_text("inactive_file 0\n", "utf-8")
    of_this = tmp_path / "cgroup"
    of_this.write_text("12:cpu,cpuacct:/other\n0::/slurm/job/step\n", "utf-8")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "GROUPS_OF_THIS", of_this)
    monkeypatch.setattr(memory, "_kilobytes", lambda file, name: FREE)
    assert memory.free_bytes() == 600
    of_this.write_text("0::/elsewhere\n", "utf-8")
    assert memory.free_bytes() == FREE


def test_memory_for_not_even_one_text_is_a_sentence(long_texts: Path, tmp_path: Path) -> None:
    failed = training(long_texts, tmp_path / "root", batch_size="auto")
    assert failed.run(so_many_megabytes, 100) == 1
    assert "ERROR: out of memory" in failed.said.read_text()
    assert "Traceback" not in failed.said.read_text()
