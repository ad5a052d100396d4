"""What tests of resuming share: params of a training that stops early, and what it makes if nobody disturbs it."""

from pathlib import Path

import pytest

from tests.conftest import read_json, write_params
from tests.stages.training import RESUMABLE, Training


@pytest.fixture(scope="session")
def resumable_params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_params(tmp_path_factory.mktemp("params") / "params.yaml", {"train": RESUMABLE})


@pytest.fixture(scope="session")
def undisturbed(doubtful: Path, tiny_base: Path, resumable_params: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of a training that is not disturbed and makes no checkpoint within an epoch."""
    training = Training(doubtful, tiny_base, tmp_path_factory.mktemp("undisturbed"), resumable_params)
    assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.stderr
    metrics = read_json(training.root / "train.json")
    assert 1 < metrics["best_epoch"] < metrics["epochs_run"] < metrics["recipe"]["epochs"]  # it stops early, and a kill must not undo that
    return training.results
