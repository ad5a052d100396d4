"""What tests of resuming share: params of a training that stops early, and what it makes if nobody disturbs it."""

from pathlib import Path

import pytest

from tests.conftest import BuiltOnce
from tests.running import read_json, write_params
from tests.stages.training import RESUMABLE, Training


@pytest.fixture(scope="session")
def resumable_params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_params(tmp_path_factory.mktemp("params") / "params.yaml", {"train": RESUMABLE})


@pytest.fixture(scope="session")
def undisturbed(doubtful: Path, tiny_base: Path, resumable_params: Path, built_once: BuiltOnce) -> dict[str, bytes]:
    """The outputs of a training that is not disturbed and makes no checkpoint within an epoch."""

    def build(folder: Path) -> None:
        training = Training(doubtful, tiny_base, folder, resumable_params)
        assert training.run(SENTIMENT_CHECKPOINT_SECONDS="3600") == 0, training.stderr
        metrics = read_json(training.root / "train.json")
        # it stops early, and a kill must not undo that
        assert 1 < metrics["best_epoch"] < metrics["epochs_run"] < metrics["recipe"]["epochs"]

    return Training(doubtful, tiny_base, built_once("undisturbed", build), resumable_params).results
