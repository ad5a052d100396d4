"""The MLflow mirror: params, metrics, pictures and hashes of a stage come in, and a run in the MLflow store goes out.

Nothing in the graph reads the store. It is MLFLOW_TRACKING_URI, else a sqlite file in the main checkout, so the queued and temporary
experiments of DVC write there too. `train` opens one run, resumes it after a kill, and tags it with the sha256 of the model. Later stages
add to the newest run with that tag. As a command, this module prints the URI of the store and the page to open, for `make mlflow`.
"""

import argparse
import json
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from stages.shared.environment import read_environment
from stages.shared.errors import StageError, Unavailable, first_line
from stages.shared.project import git, project_root

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("tracking")

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

DVC keeps the weights. `dvc checkout` restores them in the commit whose `dvc.lock` has this result."""
MAX_NAME = 250  # characters of a metric's name
MAX_PARAM = 6_000  # characters of a param's value: MLflow cuts the rest
MODEL_TAG = "model_sha256"


class Store:
    """An open MLflow store, and the experiment of this project in it."""

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self.client = client
        self.experiment_id = experiment_id

    def start_run(self, stage: str) -> str:
        """Start a run of a stage and return its id. Its name is that of the DVC experiment, or else of the stage."""
        origin = _origin()
        source = {"type": "LOCAL", "name": f"stages/{stage}.py", "git.commit": origin["parent_commit"]}
        tags = origin | {f"mlflow.source.{key}": value for key, value in source.items()}
        name = origin["dvc_experiment"] or stage
        run = self.client.create_run(self.experiment_id, run_name=name, tags={key: value for key, value in tags.items() if value})
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

    def run_of_model(self, model_sha256: str, stage: str) -> str:
        """Return the newest run that made this model. Start one if there is none, as in a clone or after a restored cache."""
        runs = self.client.search_runs(
            [self.experiment_id], f"tags.{MODEL_TAG} = '{model_sha256}'", order_by=["attributes.start_time DESC"], max_results=1
        )
        if runs:
            return str(runs[0].info.run_id)
        run_id = self.start_run(stage)
        self.link_model(run_id, model_sha256)
        return run_id

    def link_model(self, run_id: str, model_sha256: str) -> None:
        """Link a run to its model: with a tag to search for, and with a note to read."""
        self.client.set_tag(run_id, MODEL_TAG, model_sha256)
        self.client.set_tag(run_id, "mlflow.note.content", MODEL_NOTE.format(model_sha256=model_sha256))

    def add(self, run_id: str, metrics_files: Iterable[Path], pictures: Iterable[Path]) -> None:
        """Mirror pictures and metrics files: numbers as metrics, texts as tags. The name of the file is the prefix of a name."""
        for file in metrics_files:
            values = flatten(json.loads(file.read_text("utf-8")), prefix=file.stem)
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


class TrainingRun:
    """The run of a training. It gets the values of each epoch, and at the end the hash of the model."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self.run_id = run_id
        self._logged_epochs = {point.step for point in store.client.get_metric_history(run_id, "validation_loss")}

    def epoch(self, row: Mapping[str, float]) -> None:
        """Log the losses and scores of one epoch, unless the run has them from before a kill."""
        if row["epoch"] in self._logged_epochs:
            return
        values = {key: value for key, value in row.items() if key != "epoch"}
        with _only_a_mirror():
            self._store.log_metrics(self.run_id, values, step=int(row["epoch"]))

    def finish(self, model_sha256: str, origin: Mapping[str, str], metrics_files: Iterable[Path], pictures: Iterable[Path]) -> None:
        """Mirror the final metrics and pictures, and tag the run with the hashes of the model and of its origin."""
        with _only_a_mirror():
            self._store.link_model(self.run_id, model_sha256)
            for name, sha256 in origin.items():
                self._store.client.set_tag(self.run_id, f"sha256.{name}", sha256)
            self._store.add(self.run_id, [file for file in metrics_files if file.exists()], pictures)


@contextmanager
def training_run(store: Store, params_file: Path, earlier_run_id: str | None = None) -> Iterator[TrainingRun]:
    """Open a run with all params, and close it as finished, failed or killed.

    earlier_run_id: run of a stopped training, which is resumed if its params and origin are the same.
    """
    from mlflow.entities import Param
    from ruamel.yaml import YAML

    values = flatten(YAML(typ="safe", pure=True).load(params_file.read_text("utf-8")))
    params = {key: str(value) for key, value in values.items()}
    if earlier_run_id and store.reopen(earlier_run_id, params):
        run_id = earlier_run_id
    else:
        run_id = store.start_run("train")
        store.client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()], synchronous=True)
    status = "FAILED"
    try:
        yield TrainingRun(store, run_id)
        status = "FINISHED"
    except Exception:
        raise
    except BaseException:
        status = "KILLED"
        raise
    finally:
        with _only_a_mirror():
            store.client.set_terminated(run_id, status)


def add_to_model(
    store: Store,
    stage: str,
    model_sha256: str,
    metrics_file: Path,
    pictures: Iterable[Path] = (),
    measured: Mapping[str, float] | None = None,
) -> None:
    """Add the metrics and pictures of a later stage to the run of its model.

    measured: figures that depend on the speed of the machine, which no metrics file contains.
    """
    with _only_a_mirror():
        run_id = store.run_of_model(model_sha256, stage)
        store.log_metrics(run_id, measured or {})
        store.add(run_id, [metrics_file], pictures)
        store.client.set_terminated(run_id, "FINISHED")


def log_own_run(store: Store, stage: str, metrics_file: Path, pictures: Iterable[Path]) -> None:
    """Log a stage without a model as a separate run."""
    with _only_a_mirror():
        run_id = store.start_run(stage)
        store.add(run_id, [metrics_file], pictures)
        store.client.set_terminated(run_id, "FINISHED")


@contextmanager
def _only_a_mirror() -> Iterator[None]:
    """Turn an error of an open store into a warning, because no result depends on the store."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        log.warning("not recorded in MLflow (%s): the results are complete; correct the store for the next run", first_line(error))


def _origin() -> dict[str, str]:
    """Return the origin of a run: commit and DVC experiment, each empty if there is none."""
    return {"parent_commit": git("rev-parse", "HEAD"), "dvc_experiment": read_environment().dvc_exp_name}


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
