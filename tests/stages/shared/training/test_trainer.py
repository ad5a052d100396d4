"""Training ends with an error message before a value that is not a number reaches the weights, and relies on parts of the Trainer."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
from transformers import ProgressCallback, TrainerState

from stages.shared.training.machine import Machine
from stages.shared.training.trainer import ProgressBar, arguments, attention
from tests.stages.accidents import with_a_nan_gradient, within_a_step
from tests.stages.training import STEPS, Training


@pytest.fixture
def training(doubtful: Path, tiny_base: Path, resumable_params: Path, tmp_path: Path) -> Training:
    return Training(doubtful, tiny_base, tmp_path / "root", resumable_params)


def test_loss_that_is_not_a_number_ends_the_training_with_an_error_message(
    doubtful: Path, tiny_base: Path, resumable_params: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    weights = load_file(base / "model.safetensors")
    weights["embeddings.LayerNorm.weight"].fill_(float("nan"))
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    training = Training(doubtful, base, tmp_path / "root", resumable_params)
    assert training.run() == 1
    sentence = r"ERROR: the loss is not a number in step 1, with the texts of lines \d+, .*: lower train.learning_rate"
    assert re.search(sentence, training.stderr)
    assert "Traceback" not in training.stderr
    assert not (training.root / "final").exists()


def test_gradient_that_is_not_a_number_never_reaches_the_weights(training: Training, undisturbed: dict[str, bytes]) -> None:
    assert training.run(with_a_nan_gradient, STEPS + 3) == 1
    sentence = rf"ERROR: the gradient is not a number in step {STEPS + 3}, with the texts of lines \d+, .*: lower"
    assert re.search(sentence, training.stderr)
    assert "Traceback" not in training.stderr
    assert training.run() == 0, training.stderr
    assert training.results == undisturbed


def test_state_of_a_checkpoint_has_the_layout_that_resuming_reads(training: Training) -> None:
    assert training.run(within_a_step, STEPS + 5) == -signal.SIGKILL
    state = json.loads((training.checkpoints[-1] / "trainer_state.json").read_text("utf-8"))
    assert state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"] is False
    assert state["global_step"] == STEPS + 4
    assert state["epoch"] == pytest.approx(1 + 4 / STEPS)
    assert Path(state["best_model_checkpoint"]).name == f"checkpoint-{STEPS}"
    assert set(state["log_history"][-1]) == {"epoch", "loss_sum", "items"}


def test_one_process_trains_on_one_gpu_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert arguments(Machine("cuda", "fp32", threads=1, processes=1), output_dir=str(tmp_path)).n_gpu == 1


def test_attention_is_plain_for_short_texts_on_a_cpu() -> None:
    cpu, gpu = (Machine(device, "fp32", threads=1, processes=1) for device in ("cpu", "cuda"))
    assert attention(cpu, 128) == "eager"
    assert attention(cpu, 129) is attention(gpu, 128) is None


def test_progress_bar_prints_no_dicts_of_losses() -> None:
    class Bar:
        def write(self, text: str) -> None:
            raise AssertionError(text)

    bar = ProgressBar()
    bar.training_bar = Bar()
    bar.on_log(None, TrainerState(is_world_process_zero=True), None, logs={"eval_loss": 0.5})
    with pytest.raises(AssertionError, match="eval_loss"):
        ProgressCallback.on_log(bar, None, TrainerState(is_world_process_zero=True), None, logs={"eval_loss": 0.5})
