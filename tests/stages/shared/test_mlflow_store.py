"""The MLflow store: first use in parallel, relative stores, moved checkouts, PostgreSQL, and stores that cannot be reached."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.shared import mlflow_store, tracking
from stages.shared.errors import Unavailable
from tests.running import ROOT, run_command

OPEN = "from stages.shared import mlflow_store; store = mlflow_store.open_store(); print(store.start_run('x', {}))"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The main checkout of a test, with an empty store."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_four_processes_at_once_can_create_the_store(root: Path) -> None:
    command = [sys.executable, "-c", OPEN]
    first = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    printed = [process.communicate(timeout=240) for process in first]
    assert [process.returncode for process in first] == [0, 0, 0, 0], printed
    assert len({out for out, _ in printed}) == 4
    assert (root / "mlflow.db").exists()


def test_store_and_artifacts_are_in_the_main_checkout(root: Path) -> None:
    store = mlflow_store.open_store()
    experiment = store.client.get_experiment(store.experiment_id)
    assert mlflow_store.store_uri() == f"sqlite:///{root / 'mlflow.db'}"
    assert experiment.artifact_location == (root / "mlartifacts").as_uri()


def test_store_of_a_checkout_that_has_moved_names_its_new_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, copy = root / "first", root / "copy"
    first.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(first))
    (first / "curve.png").write_bytes(b"picture")
    with tracking.training_run(mlflow_store.open_store(), ROOT / "params.yaml") as run:
        run.finish("abc", {}, {}, [first / "curve.png"])
    shutil.copytree(first, copy)
    shutil.rmtree(first)
    monkeypatch.setenv("DVC_ROOT", str(copy))
    store = mlflow_store.open_store()
    assert caplog.text.count("the checkout has moved") == 1
    assert store.client.get_experiment(store.experiment_id).artifact_location == (copy / "mlartifacts").as_uri()
    assert Path(store.client.download_artifacts(run.run_id, "curve.png")).read_bytes() == b"picture"
    store.client.log_artifact(store.start_run("evaluate", {}), str(copy / "curve.png"))
    assert not first.exists()
    mlflow_store.open_store()
    assert caplog.text.count("the checkout has moved") == 1


def test_relative_sqlite_uri_starts_in_the_main_checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere/x.db")
    assert mlflow_store.store_uri() == f"sqlite:///{root}/elsewhere/x.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////absolute/x.db")
    assert mlflow_store.store_uri() == "sqlite:////absolute/x.db"


def test_runs_are_named_after_the_dvc_experiment_and_found_by_model(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "mossy-hare")
    store = mlflow_store.open_store()
    run_id = store.start_run("train", {})
    assert store.client.get_run(run_id).info.run_name == "mossy-hare"
    store.client.set_tag(run_id, mlflow_store.MODEL_TAG, "abc")
    assert store.run_of_model("abc", "evaluate", {}) == run_id
    fresh = store.run_of_model("unseen", "evaluate", {})
    assert fresh != run_id
    assert store.client.get_run(fresh).data.tags[mlflow_store.MODEL_TAG] == "unseen"


def test_experiment_is_described_as_model_training(root: Path) -> None:
    tags = {}
    for _ in range(2):
        store = mlflow_store.open_store()
        tags = store.client.get_experiment(store.experiment_id).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        assert "dvc.yaml" in tags["mlflow.note.content"]
    store.client.set_experiment_tag(store.experiment_id, "mlflow.note.content", "my own words")
    mlflow_store.open_store()
    assert store.client.get_experiment(store.experiment_id).tags["mlflow.note.content"] == "my own words"


def test_experiment_of_an_older_version_gets_the_tags_that_it_lacks(root: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_store.store_uri())
    old = client.create_experiment(mlflow_store.EXPERIMENT)
    assert mlflow_store.open_store().experiment_id == old
    assert client.get_experiment(old).tags.items() >= mlflow_store.EXPERIMENT_TAGS.items()


def test_command_prints_the_uri_and_logs_the_page_of_the_runs(root: Path) -> None:
    done = run_command(sys.executable, "-m", "stages.shared.mlflow_store", "http://127.0.0.1:5000")
    assert done.stdout == f"sqlite:///{root / 'mlflow.db'}\n"
    assert "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning" in done.stderr


def test_hangul_and_bracketed_metric_names_stay_distinct(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "evaluate.json"
    file.write_text('{"classes": {"기쁨": {"f1": 0.5}, "슬픔": {"f1": 0.25}, "고립된(당황한)": {"f1": 0.125}}, "engine": "x"}', "utf-8")
    store = mlflow_store.open_store()
    run_id = store.start_run("evaluate", {})
    store.add(run_id, {"evaluate": file}, [])
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
def test_unreachable_store_is_an_error_message_without_the_password(root: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(port=probe.getsockname()[1]))
        with pytest.raises(Unavailable, match="correct MLFLOW_TRACKING_URI") as caught:
            mlflow_store.open_store()
    assert "secret" not in str(caught.value)


def test_warning_of_an_old_file_store_has_the_command_that_migrates_it(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    from click.testing import CliRunner
    from mlflow.cli import cli

    (root / "mlruns/7").mkdir(parents=True)
    old = {"experiment_id": "7", "name": "old", "lifecycle_stage": "active", "artifact_location": (root / "mlruns/7").as_uri()}
    (root / "mlruns/7/meta.yaml").write_text("".join(f"{key}: '{value}'\n" for key, value in old.items()), "utf-8")
    mlflow_store.open_store()
    (command,) = re.findall(
        r"with: mlflow (migrate-filestore .+)  \(the target must be new: first move mlflow\.db away\)$", caplog.text, re.M
    )
    (root / "mlflow.db").rename(root / "mlflow.old.db")
    migrated = CliRunner().invoke(cli, command.split())
    assert migrated.exit_code == 0, migrated.output
    assert mlflow_store.open_store().client.get_experiment_by_name("old")


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URI of a PostgreSQL server that runs for one test, on a free port of loopback."""
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


def test_postgresql_works_as_a_store(root: Path, postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql)
    with tracking.training_run(mlflow_store.open_store(), ROOT / "params.yaml") as run:
        run.epoch({"epoch": 1, "validation_loss": 0.5})
        run.finish("abc", {"train": "def"}, {}, [])
    store = mlflow_store.open_store()
    found = store.client.get_run(store.run_of_model("abc", "evaluate", {}))
    assert found.data.metrics["validation_loss"] == 0.5
    assert found.data.params["preprocess.labels"] == "['negative', 'positive']"
    assert not (root / "mlflow.db").exists()
