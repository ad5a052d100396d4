"""The MLflow mirror: first use in parallel, Hangul names, relative stores, real PostgreSQL, and stores that cannot be reached."""

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
from tests.running import ROOT, run_command, write_params

OPEN = "from stages.shared import tracking; store = tracking.open_store(); print(store.start_run('x'))"


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
    store = tracking.open_store()
    experiment = store.client.get_experiment(store.experiment_id)
    assert tracking.store_uri() == f"sqlite:///{root / 'mlflow.db'}"
    assert experiment.artifact_location == (root / "mlartifacts").as_uri()


def test_relative_sqlite_uri_starts_in_the_main_checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_run_names_its_source_and_its_model_in_the_ui(root: Path) -> None:
    store = tracking.open_store()
    with tracking.training_run(store, ROOT / "params.yaml") as run:
        run.finish("abc123", {"train": "def"}, [], [])
    tags = store.client.get_run(run.run_id).data.tags
    assert (tags["mlflow.source.type"], tags["mlflow.source.name"]) == ("LOCAL", "stages/train.py")
    assert tags.get("mlflow.source.git.commit") == tags.get("parent_commit")
    assert "`models/final`" in tags["mlflow.note.content"]
    assert "`abc123`" in tags["mlflow.note.content"]
    assert (tags["model_sha256"], tags["sha256.train"]) == ("abc123", "def")


def test_experiment_is_described_as_model_training(root: Path) -> None:
    tags = {}
    for _ in range(2):
        store = tracking.open_store()
        tags = store.client.get_experiment(store.experiment_id).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        assert "dvc.yaml" in tags["mlflow.note.content"]
    store.client.set_experiment_tag(store.experiment_id, "mlflow.note.content", "my own words")
    tracking.open_store()
    assert store.client.get_experiment(store.experiment_id).tags["mlflow.note.content"] == "my own words"


def test_experiment_of_an_older_version_gets_the_tags_that_it_lacks(root: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking.store_uri())
    old = client.create_experiment(tracking.EXPERIMENT)
    assert tracking.open_store().experiment_id == old
    assert client.get_experiment(old).tags.items() >= tracking.EXPERIMENT_TAGS.items()


def test_command_prints_the_uri_and_logs_the_page_of_the_runs(root: Path) -> None:
    done = run_command(sys.executable, "-m", "stages.shared.tracking", "http://127.0.0.1:5000")
    assert done.stdout == f"sqlite:///{root / 'mlflow.db'}\n"
    assert "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning" in done.stderr


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
def test_unreachable_store_is_an_error_message_without_the_password(root: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(port=probe.getsockname()[1]))
        with pytest.raises(Unavailable, match="correct MLFLOW_TRACKING_URI") as caught:
            tracking.open_store()
    assert "secret" not in str(caught.value)


def test_warning_of_an_old_file_store_has_the_command_that_migrates_it(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "mlruns/0").mkdir(parents=True)
    (root / "mlruns/0/meta.yaml").write_text("", "utf-8")
    tracking.warn_of_old_store(root)
    assert "mlflow migrate-filestore --source" in caplog.text


def test_run_of_a_failed_training_is_marked_failed(root: Path) -> None:
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
def test_run_of_a_stopped_training_is_resumed_if_params_and_origin_are_the_same(
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


def test_run_that_ended_well_is_not_resumed(root: Path) -> None:
    store = tracking.open_store()
    with tracking.training_run(store, ROOT / "params.yaml") as first:
        pass
    with pytest.raises(KeyboardInterrupt), tracking.training_run(store, ROOT / "params.yaml", first.run_id) as second:
        raise KeyboardInterrupt
    assert second.run_id != first.run_id
    assert store.client.get_run(first.run_id).info.status == "FINISHED"


def test_run_that_the_store_does_not_have_is_replaced_by_a_new_one(root: Path) -> None:
    with tracking.training_run(tracking.open_store(), ROOT / "params.yaml", "0" * 32) as run:
        assert run.run_id != "0" * 32


def test_store_that_fails_later_is_a_warning_and_the_training_ends_well(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tracking.training_run(tracking.open_store(), ROOT / "params.yaml") as run:
        run.epoch({"epoch": 1, "validation_loss": 0.5})
        assert "not mirrored" not in caplog.text
        (root / "mlflow.db").write_bytes(b"no database any more" * 1000)
        run.epoch({"epoch": 2, "validation_loss": 0.4})
        run.finish("abc", {"train": "def"}, [], [])
    assert caplog.text.count("not recorded in MLflow") == 3


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
    with tracking.training_run(tracking.open_store(), ROOT / "params.yaml") as run:
        run.epoch({"epoch": 1, "validation_loss": 0.5})
        run.finish("abc", {"train": "def"}, [], [])
    store = tracking.open_store()
    found = store.client.get_run(store.run_of_model("abc", "evaluate"))
    assert found.data.metrics["validation_loss"] == 0.5
    assert found.data.params["preprocess.labels"] == "['negative', 'positive']"
    assert not (root / "mlflow.db").exists()
