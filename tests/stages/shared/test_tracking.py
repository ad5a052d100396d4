"""Tracking: first use in parallel, Hangul names, relative stores, real PostgreSQL, stores that are not there."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.shared import tracking
from stages.shared.errors import Unavailable
from tests.conftest import ROOT, run_command, write_params

OPEN = "from stages.shared import tracking; store = tracking.open_store(); print(store.start_run('x'))"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_four_processes_may_be_the_first_at_once(root: Path) -> None:
    command = [sys.executable, "-c", OPEN]
    first = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    printed = [process.communicate(timeout=240) for process in first]
    assert [process.returncode for process in first] == [0, 0, 0, 0], printed
    assert len({out for out, _ in printed}) == 4
    assert (root / "mlflow.db").exists()


def test_store_and_artifacts_lie_in_the_main_checkout(root: Path) -> None:
    store = tracking.open_store()
    experiment = store.client.get_experiment(store.experiment_id)
    assert tracking.store_uri() == f"sqlite:///{root / 'mlflow.db'}"
    assert experiment.artifact_location == (root / "mlartifacts").as_uri()


def test_relative_sqlite_uri_counts_from_the_main_checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere/x.db")
    assert tracking.store_uri() == f"sqlite:///{root}/elsewhere/x.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////absolute/x.db")
    assert tracking.store_uri() == "sqlite:////absolute/x.db"


def test_runs_are_named_after_the_dvc_experiment_and_found_by_model(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "mossy-hare")
    store = tracking.open_store()
    run_id = store.start_run("train")
    assert store.client.get_run(run_id).info.run_name == "mossy-hare"
    store.client.set_tag(run_id, tracking.MODEL_TAG, "abc")
    assert store.run_of_model("abc", "evaluate") == run_id
    fresh = store.run_of_model("unseen", "evaluate")
    assert fresh != run_id
    assert store.client.get_run(fresh).data.tags[tracking.MODEL_TAG] == "unseen"


def test_hangul_and_bracketed_metric_names_stay_distinct(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "evaluate.json"
    file.write_text('{"classes": {"기쁨": {"f1": 0.5}, "슬픔": {"f1": 0.25}, "고립된(당황한)": {"f1": 0.125}}, "engine": "x"}', "utf-8")
    store = tracking.open_store()
    run_id = store.start_run("evaluate")
    store.add(run_id, [file], [])
    data = store.client.get_run(run_id).data
    assert data.metrics == {
        "evaluate.classes.기쁨.f1": 0.5,
        "evaluate.classes.슬픔.f1": 0.25,
        "evaluate.classes.고립된_28_당황한_29_.f1": 0.125,
    }
    assert data.tags["evaluate.engine"] == "x"


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:secret@127.0.0.1:{port}/db",
        "http://u:secret@127.0.0.1:{port}",
        "nonsense://x",
        "postgresql://localhost:abc/db",
        "http://[bad",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_unreachable_store_is_a_sentence_without_the_password(root: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(port=probe.getsockname()[1]))
        with pytest.raises(Unavailable, match="correct MLFLOW_TRACKING_URI") as caught:
            tracking.open_store()
    assert "secret" not in str(caught.value)


def test_old_file_store_is_named_with_the_command_to_migrate_it(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "mlruns/0").mkdir(parents=True)
    (root / "mlruns/0/meta.yaml").write_text("", "utf-8")
    tracking.point_out_old_store(root)
    assert "mlflow migrate-filestore --source" in caplog.text


def test_a_failed_training_is_marked_failed(root: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracking.training_run(tracking.open_store(), ROOT / "params.yaml") as run:
        raise ZeroDivisionError(run)
    store = tracking.open_store()
    (run_found,) = store.client.search_runs([store.experiment_id])
    assert run_found.info.status == "FAILED"
    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))
    assert run_found.data.params == {key: str(value) for key, value in tracking.flatten(params).items()}


@pytest.mark.parametrize(
    ("change", "runs"),
    [({}, 1), ({"train.seed": 8}, 2), ({"DVC_EXP_NAME": "mossy-hare"}, 2)],
    ids=["the same", "other params", "another experiment"],
)
def test_a_run_is_gone_on_with_where_it_is_of_the_same_training(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], runs: int
) -> None:
    with pytest.raises(KeyboardInterrupt), tracking.training_run(tracking.open_store(), ROOT / "params.yaml") as first:
        raise KeyboardInterrupt
    if name := change.get("DVC_EXP_NAME"):
        monkeypatch.setenv("DVC_EXP_NAME", str(name))
    seed = change.get("train.seed", 7)
    params_file = write_params(tmp_path / "params.yaml", {"train": {"seed": seed}})
    store = tracking.open_store()
    with tracking.training_run(store, params_file, first.run_id) as second:
        assert store.client.get_run(second.run_id).info.status == "RUNNING"
    assert len(store.client.search_runs([store.experiment_id])) == runs
    assert (second.run_id == first.run_id) == (runs == 1)
    assert store.client.get_run(second.run_id).info.status == "FINISHED"


def test_a_run_that_ended_well_is_left_alone(root: Path) -> None:
    store = tracking.open_store()
    with tracking.training_run(store, ROOT / "params.yaml") as first:
        pass
    with pytest.raises(KeyboardInterrupt), tracking.training_run(store, ROOT / "params.yaml", first.run_id) as second:
        raise KeyboardInterrupt
    assert second.run_id != first.run_id
    assert store.client.get_run(first.run_id).info.status == "FINISHED"


def test_a_run_that_the_store_has_not_is_started_anew(root: Path) -> None:
    with tracking.training_run(tracking.open_store(), ROOT / "params.yaml", "0" * 32) as run:
        assert run.run_id != "0" * 32


def test_a_store_that_fails_under_way_is_a_warning_and_the_training_ends_well(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tracking.training_run(tracking.open_store(), ROOT / "params.yaml") as run:
        run.epoch({"epoch": 1, "validation_loss": 0.5})
        assert "not mirrored" not in caplog.text
        (root / "mlflow.db").write_bytes(b"no database any more" * 1000)
        run.epoch({"epoch": 2, "validation_loss": 0.4})
        run.finish("abc", {"train": "def"}, [], [])
    assert caplog.text.count("not mirrored to MLflow") == 3


@pytest.fixture
def postgresql() -> Iterator[str]:
    """A PostgreSQL server of our own on a free loopback port."""
    binaries = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
    tools = binaries or Path(shutil.which("initdb") or "/nowhere/initdb").parent
    assert (tools / "initdb").exists(), "PostgreSQL is not installed: apt-get install postgresql"
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    unprivileged: list[str] = []
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        unprivileged = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "env", f"HOME={folder}"]

    def tool(name: str, *arguments: str) -> None:
        done = run_command(*unprivileged, str(tools / name), *arguments, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr

    tool("initdb", "-D", f"{folder}/data", "-U", "mlflow", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    started = subprocess.run(
        [*unprivileged, str(tools / "pg_ctl"), "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert started.returncode == 0, (folder / "log").read_text()
    tool("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow")
    yield f"postgresql://mlflow@127.0.0.1:{port}/mlflow"
    tool("pg_ctl", "-D", f"{folder}/data", "-m", "fast", "-w", "stop")
    shutil.rmtree(folder)


def test_postgresql_is_a_store_like_any_other(root: Path, postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql)
    with tracking.training_run(tracking.open_store(), ROOT / "params.yaml") as run:
        run.epoch({"epoch": 1, "validation_loss": 0.5})
        run.finish("abc", {"train": "def"}, [], [])
    store = tracking.open_store()
    found = store.client.get_run(store.run_of_model("abc", "evaluate"))
    assert found.data.metrics["validation_loss"] == 0.5
    assert found.data.params["preprocess.labels"] == "['negative', 'positive']"
    assert not (root / "mlflow.db").exists()
