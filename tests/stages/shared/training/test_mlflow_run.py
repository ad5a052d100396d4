"""A training has one MLflow run, also after many kills, and each epoch is in it once."""

import signal
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.running import read_json
from tests.stages.accidents import within_a_step
from tests.stages.training import Training


def test_training_that_is_killed_many_times_has_one_run_and_the_same_bytes(
    doubtful: Path, tiny_base: Path, resumable_params: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    training = Training(doubtful, tiny_base, tmp_path / "root", resumable_params)
    for at in (9, 4, 14, 2, 7):
        assert training.run(within_a_step, at) == -signal.SIGKILL
    assert training.run() == 0, training.stderr
    assert training.results == undisturbed
    client = MlflowClient(training.environment["MLFLOW_TRACKING_URI"])
    (run,) = client.search_runs(["1"])
    assert run.info.status == "FINISHED"
    points = client.get_metric_history(run.info.run_id, "validation_loss")
    logged = {point.step: point.value for point in points}
    assert len(points) == len(logged)
    curve = read_json(training.root / "train.json")["curve"]
    assert logged == pytest.approx({row["epoch"]: row["validation_loss"] for row in curve}, abs=1e-6)
