"""The MLflow store: its URI, its experiment and its runs.

It is MLFLOW_TRACKING_URI, else a sqlite file in the main checkout, so the queued and temporary experiments of DVC write there too.
As a command, this module prints the URI of the store and the page to open, for `make mlflow`.
"""

import argparse
import json
import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from stages.shared.environment import read_environment
from stages.shared.errors import StageError, Unavailable, first_line
from stages.shared.project import git, project_root

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("mlflow_store")

EXPERIMENT = "sentiment-ops"
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # no GenAI app; the UI of MLflow 3.17 reads it from the address of the page
    "mlflow.note.content": (
        "Runs of the graph in `dvc.yaml`. Each run of `train` has all params, the losses of each epoch, and the metrics and pictures "
        "of the stages after it. Weights stay in DVC: the tag `model_sha256` names them.\n\n"
        "These runs are copies. The results are in `metrics/` and `dvc.lock`."
    ),
}
RUNS_PAGE = "#/experiments/{}/runs?workflowType=machine_learning"
MODEL_NOTE = """Model: `models/final`, with weights of sha256 `{model_sha256}`.

DVC keeps the weights. `dvc repro` restores them in the commit whose `dvc.lock` has this result."""
MAX_NAME = 250  # characters of a metric's name
MAX_PARAM = 6_000  # characters of a param's value: MLflow cuts the rest
MODEL_TAG = "model_sha256"
EXPERIMENT_TAG = "dvc_experiment"


class Store:
    """An open MLflow store, and the experiment of this project in it."""

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self.client = client
        self.experiment_id = experiment_id

    def start_run(self, stage: str, params: Mapping[str, str]) -> str:
        """Start a run of a stage with all params, and return its id. Its name is that of the DVC experiment, or else of the stage."""
        from mlflow.entities import Param

        origin = _origin()
        source = {"type": "LOCAL", "name": f"stages/{stage}.py", "git.commit": origin["parent_commit"]}
        tags = origin | {f"mlflow.source.{key}": value for key, value in source.items()}
        name = origin[EXPERIMENT_TAG] or stage
        run = self.client.create_run(self.experiment_id, run_name=name, tags={key: value for key, value in tags.items() if value})
        self.client.log_batch(run.info.run_id, params=[Param(key, value) for key, value in params.items()], synchronous=True)
        return str(run.info.run_id)

    def reopen(self, run_id: str, params: Mapping[str, str]) -> bool:
        """Set a stopped run to running again. Return False if it ended well, is gone, or has other params or another origin."""
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException:
            return False
        logged_params = {key: value[:MAX_PARAM] for key, value in params.items()}
        is_same = run.data.params == logged_params and all(run.data.tags.get(key, "") == value for key, value in _origin().items())
        if is_same and run.info.lifecycle_stage == "active" and run.info.status != "FINISHED":
            self.client.update_run(run_id, status="RUNNING")
            return True
        return False

    def run_of_model(self, model_sha256: str, stage: str, params: Mapping[str, str]) -> str:
        """Return the newest run with this model in the DVC experiment of this process.

        Start one if there is none: in a clone, after a restored cache, and in an experiment that changes only a later stage.
        """
        experiment = _origin()[EXPERIMENT_TAG]
        runs = self.client.search_runs(
            [self.experiment_id], f"tags.{MODEL_TAG} = '{model_sha256}'", order_by=["attributes.start_time DESC"]
        )
        for run in runs:
            if run.data.tags.get(EXPERIMENT_TAG, "") == experiment:
                return str(run.info.run_id)
        run_id = self.start_run(stage, params)
        self.link_model(run_id, model_sha256)
        return run_id

    def link_model(self, run_id: str, model_sha256: str) -> None:
        """Link a run to its model: with a tag to search for, and with a note to read."""
        self.client.set_tag(run_id, MODEL_TAG, model_sha256)
        self.client.set_tag(run_id, "mlflow.note.content", MODEL_NOTE.format(model_sha256=model_sha256))

    def add(self, run_id: str, details: Mapping[str, Path], pictures: Iterable[Path]) -> None:
        """Mirror the figures of each stage and its pictures: numbers as metrics, texts as tags, named `<stage>.<key>`."""
        for stage, file in details.items():
            values = flatten(json.loads(file.read_text("utf-8")), prefix=stage)
            self.log_metrics(run_id, {key: value for key, value in values.items() if isinstance(value, int | float)})
            for key, value in values.items():
                if isinstance(value, str):
                    self.client.set_tag(run_id, key, value)
        for picture in pictures:
            self.client.log_artifact(run_id, str(picture))

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at a step, under names that MLflow accepts."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(run_id, metrics=[Metric(allowed_name(key), float(value), now, step) for key, value in metrics.items()])


def _origin() -> dict[str, str]:
    """Return the origin of a run: commit and DVC experiment, each empty if there is none."""
    return {"parent_commit": git("rev-parse", "HEAD"), EXPERIMENT_TAG: read_environment().dvc_exp_name}


def store_uri() -> str:
    """Return the tracking URI. A relative sqlite path starts in the main checkout."""
    root = project_root()
    uri = read_environment().mlflow_tracking_uri
    if not uri:
        return f"sqlite:///{root / 'mlflow.db'}"
    relative = re.fullmatch(r"sqlite:///([^/].*)", uri)
    return f"sqlite:///{root / relative.group(1)}" if relative else uri


def open_store() -> Store:
    """Connect before the work of a stage, so that a wrong URI costs seconds. Create database and experiment under a lock."""
    uri, root = store_uri(), project_root()
    warn_of_old_store(root)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    if re.fullmatch(r"sqlite://(/.*:memory:)?", uri):
        raise Unavailable(f"the MLflow store {uri} is in memory, so it ends with the stage: correct MLFLOW_TRACKING_URI")
    is_server = uri.startswith(("http://", "https://"))
    artifacts = None if is_server else (root / "mlartifacts").as_uri()
    try:
        # The first use of MLflow creates and migrates the database, and two processes at once would destroy it.
        with FileLock(root / ".mlflow.lock"):
            if not is_server:
                create_engine(uri).connect().close()
            client = MlflowClient(tracking_uri=uri)
            experiment_id = _experiment(client, artifacts)
            if artifacts and not read_environment().mlflow_tracking_uri:
                _move_artifacts(client, experiment_id, artifacts)
    except (MlflowException, SQLAlchemyError, ModuleNotFoundError, ValueError) as error:
        reason = _without_password(first_line(error))
        raise Unavailable(f"the MLflow store {_without_password(uri)} cannot be opened ({reason}): correct MLFLOW_TRACKING_URI") from error
    return Store(client, experiment_id)


def _experiment(client: "MlflowClient", artifacts: str | None) -> str:
    """Return the id of the experiment; create it, and add the tags that it lacks."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if not found:
        return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts, tags=EXPERIMENT_TAGS))
    for key in EXPERIMENT_TAGS.keys() - found.tags.keys():
        client.set_experiment_tag(found.experiment_id, key, EXPERIMENT_TAGS[key])
    return str(found.experiment_id)


def _move_artifacts(client: "MlflowClient", experiment_id: str, artifacts: str) -> None:
    """Make the store of a checkout that was copied or moved name its own folder, because MLflow stores absolute folders."""
    from sqlalchemy import create_engine, text

    old = client.get_experiment(experiment_id).artifact_location
    if old == artifacts:
        return
    with create_engine(store_uri()).begin() as database:
        database.execute(
            text("UPDATE experiments SET artifact_location = :new WHERE experiment_id = :experiment"),
            {"new": artifacts, "experiment": experiment_id},
        )
        database.execute(
            text("UPDATE runs SET artifact_uri = :new || substr(artifact_uri, :length) WHERE substr(artifact_uri, 1, :length - 1) = :old"),
            {"new": artifacts, "old": old, "length": len(old) + 1},
        )
    log.warning("the checkout has moved: pictures of runs now stand in %s, no longer in %s", artifacts, old)


def warn_of_old_store(root: Path) -> None:
    """Say how to migrate the runs of an old file store. MLflow no longer writes such a store."""
    if any(root.glob("mlruns/*/meta.yaml")):
        log.warning(
            "%s is an old MLflow file store, which stays as it is. Migrate its runs once with: "
            "mlflow migrate-filestore --source %s --target sqlite:///%s  (the target must be new: first move mlflow.db away)",
            root / "mlruns", root / "mlruns", root / "mlflow.db",
        )  # fmt: skip


def allowed_name(name: str) -> str:
    """Return a name that MLflow accepts. Letters of any script stay, and other characters become their code, so names stay distinct."""
    return re.sub(r"[^\w.: \-]", lambda other: f"_{ord(other.group()):x}_", name)[:MAX_NAME]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys with dots. Lists stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        flat |= flatten(value, name) if isinstance(value, Mapping) else {name: value}
    return flat


def _without_password(uri: str) -> str:
    return re.sub(r"://([^:/@\s]*):\S*@", r"://\1:***@", uri).partition("?")[0]


def main() -> None:
    """Open the store, print its URI, and log the page of the runs in the UI."""
    parser = argparse.ArgumentParser(description="Print the URI of the MLflow store, which is created if it does not exist.")
    parser.add_argument("address", nargs="?", default="", help="address of the MLflow UI, to log the page of the runs")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        store, uri = open_store(), store_uri()
    except StageError as error:
        raise SystemExit(f"ERROR: {error}") from None
    if address := uri if uri.startswith("http") else options.address:
        page = f"{address}/{RUNS_PAGE.format(store.experiment_id)}"
        log.info("the runs are at %s (to keep this view, click Model training at the top left once)", page)
    print(uri)


if __name__ == "__main__":
    main()
