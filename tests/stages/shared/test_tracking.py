"""The MLflow mirror: one run for each training and experiment, which names its source, its params and its model."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.shared import mlflow_store, tracking
from tests.running import ROOT, write_params


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The main checkout of a test, with an empty store."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_run_names_its_source_and_its_model_in_the_ui(root: Path) -> None:
    store = mlflow_store.open_store()
    with tracking.training_run(store, ROOT / "params.yaml") as run:
        run.finish("abc123", {"train": "def"}, {}, [])
    tags = store.client.get_run(run.run_id).data.tags
    assert (tags["mlflow.source.type"], tags["mlflow.source.name"]) == ("LOCAL", "stages/train.py")
    assert tags.get("mlflow.source.git.commit") == tags.get("parent_commit")
    assert "`models/final`" in tags["mlflow.note.content"]
    assert "`abc123`" in tags["mlflow.note.content"]
    assert (tags["model_sha256"], tags["sha256.train"]) == ("abc123", "def")


def test_experiments_of_one_model_have_a_run_each(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, metrics = mlflow_store.open_store(), tmp_path / "evaluate.json"
    with tracking.training_run(store, ROOT / "params.yaml") as run:
        run.finish("abc", {}, {}, [])
    for name, accuracy, seed in (("", 0.9, 42), ("mossy-hare", 0.8, 43), ("puffy-dog", 0.7, 44)):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        params_file = write_params(tmp_path / "params.yaml", {"evaluate": {"seed": seed}})
        metrics.write_text(f'{{"accuracy": {accuracy}}}', "utf-8")
        for _ in range(2):  # repeated, as by `dvc repro --force`
            tracking.add_to_model(store, "evaluate", "abc", params_file, metrics)
    found = {
        found.info.run_name: (found.data.metrics["evaluate.accuracy"], found.data.params["evaluate.seed"])
        for found in store.client.search_runs([store.experiment_id])
    }
    assert found == {"train": (0.9, "42"), "mossy-hare": (0.8, "43"), "puffy-dog": (0.7, "44")}
    assert store.client.get_run(run.run_id).data.metrics == {"evaluate.accuracy": 0.9}


def test_run_of_a_failed_training_is_marked_failed(root: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracking.training_run(mlflow_store.open_store(), ROOT / "params.yaml") as run:
        raise ZeroDivisionError(run)
    store = mlflow_store.open_store()
    (run_found,) = store.client.search_runs([store.experiment_id])
    assert run_found.info.status == "FAILED"
    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))
    assert run_found.data.params == {key: str(value) for key, value in mlflow_store.flatten(params).items()}


@pytest.mark.parametrize(
    ("change", "runs"),
    [({}, 1), ({"train.seed": 8}, 2), ({"DVC_EXP_NAME": "mossy-hare"}, 2)],
    ids=["the same", "other params", "another experiment"],
)
def test_run_of_a_stopped_training_is_resumed_if_params_and_origin_are_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], runs: int
) -> None:
    with pytest.raises(KeyboardInterrupt), tracking.training_run(mlflow_store.open_store(), ROOT / "params.yaml") as first:
        raise KeyboardInterrupt
    if name := change.get("DVC_EXP_NAME"):
        monkeypatch.setenv("DVC_EXP_NAME", str(name))
    seed = change.get("train.seed", 7)
    params_file = write_params(tmp_path / "params.yaml", {"train": {"seed": seed}})
    store = mlflow_store.open_store()
    with tracking.training_run(store, params_file, first.run_id) as second:
        assert store.client.get_run(second.run_id).info.status == "RUNNING"
    assert len(store.client.search_runs([store.experiment_id])) == runs
    assert (second.run_id == first.run_id) == (runs == 1)
    assert store.client.get_run(second.run_id).info.status == "FINISHED"


def test_run_that_ended_well_is_not_resumed(root: Path) -> None:
    store = mlflow_store.open_store()
    with tracking.training_run(store, ROOT / "params.yaml") as first:
        pass
    with pytest.raises(KeyboardInterrupt), tracking.training_run(store, ROOT / "params.yaml", first.run_id) as second:
        raise KeyboardInterrupt
    assert second.run_id != first.run_id
    assert store.client.get_run(first.run_id).info.status == "FINISHED"


def test_run_that_the_store_does_not_have_is_replaced_by_a_new_one(root: Path) -> None:
    with tracking.training_run(mlflow_store.open_store(), ROOT / "params.yaml", "0" * 32) as run:
        assert run.run_id != "0" * 32


def test_store_that_fails_later_is_a_warning_and_the_training_ends_well(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tracking.training_run(mlflow_store.open_store(), ROOT / "params.yaml") as run:
        run.epoch({"epoch": 1, "validation_loss": 0.5})
        assert "not mirrored" not in caplog.text
        (root / "mlflow.db").write_bytes(b"no database any more" * 1000)
        run.epoch({"epoch": 2, "validation_loss": 0.4})
        run.finish("abc", {"train": "def"}, {}, [])
    assert caplog.text.count("not recorded in MLflow") == 3
