"""Mirror runs to MLflow: params, metrics per epoch, final metrics, pictures, lineage. Nothing in the graph reads it back.

Store: MLFLOW_TRACKING_URI, else sqlite in the main checkout, so that queued and temporary experiments of DVC land there too.
train opens one run, goes on with it after a kill, and tags it with the model's sha256; later stages add to the newest run with that tag.
Run as a command it prints the store's URI, for `make mlflow`.
"""

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

from stages.shared.errors import Unavailable
from stages.shared.project import git, project_root

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("tracking")

EXPERIMENT = "sentiment-ops"
MAX_NAME = 250  # of a metric
MAX_PARAM = 6_000  # characters of a param's value, which MLflow cuts there
MODEL_TAG = "model_sha256"


class Store:
    """An open MLflow store and our experiment in it."""

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self.client = client
        self.experiment_id = experiment_id

    def start_run(self, name: str) -> str:
        """Start a run and return its id; it is named after the DVC experiment when there is one."""
        named = os.environ.get("DVC_EXP_NAME") or name
        run = self.client.create_run(self.experiment_id, run_name=named, tags={key: value for key, value in _origin().items() if value})
        return str(run.info.run_id)

    def goes_on(self, run_id: str, params: Mapping[str, str]) -> bool:
        """Set a run that did not end well to running again; False where it did or is gone, or is of other params, commit or experiment."""
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException:
            return False
        kept = {key: value[:MAX_PARAM] for key, value in params.items()}
        same = run.data.params == kept and all(run.data.tags.get(key, "") == value for key, value in _origin().items())
        if same and run.info.lifecycle_stage == "active" and run.info.status != "FINISHED":
            self.client.update_run(run_id, status="RUNNING")
            return True
        return False

    def run_of_model(self, model_sha256: str, stage: str) -> str:
        """Return the newest run that made this model; where there is none (a restored cache, a clone), start one."""
        runs = self.client.search_runs(
            [self.experiment_id], f"tags.{MODEL_TAG} = '{model_sha256}'", order_by=["attributes.start_time DESC"], max_results=1
        )
        if runs:
            return str(runs[0].info.run_id)
        run_id = self.start_run(stage)
        self.client.set_tag(run_id, MODEL_TAG, model_sha256)
        return run_id

    def add(self, run_id: str, metrics_files: Iterable[Path], pictures: Iterable[Path]) -> None:
        """Mirror metrics JSON files (numbers as metrics, words as tags, names prefixed by the file's) and pictures."""
        for file in metrics_files:
            values = flatten(json.loads(file.read_text("utf-8")), prefix=file.stem)
            self.log_metrics(run_id, {key: value for key, value in values.items() if isinstance(value, int | float)})
            for key, value in values.items():
                if isinstance(value, str):
                    self.client.set_tag(run_id, key, value)
        for picture in pictures:
            self.client.log_artifact(run_id, str(picture))

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(run_id, metrics=[Metric(allowed_name(key), float(value), now, step) for key, value in metrics.items()])


class TrainingRun:
    """The run that train opens: told of each epoch, finished with the model's hash."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self.run_id = run_id
        self._told = {point.step for point in store.client.get_metric_history(run_id, "validation_loss")}

    def epoch(self, row: Mapping[str, float]) -> None:
        """Log the losses and scores of one epoch, unless they are known from before a kill."""
        if row["epoch"] in self._told:
            return
        values = {key: value for key, value in row.items() if key != "epoch"}
        with _only_a_mirror():
            self._store.log_metrics(self.run_id, values, step=int(row["epoch"]))

    def finish(self, model_sha256: str, origin: Mapping[str, str], metrics_files: Iterable[Path], pictures: Iterable[Path]) -> None:
        """Mirror the final metrics and tag the run with the hashes of the model and of what it came from."""
        with _only_a_mirror():
            self._store.client.set_tag(self.run_id, MODEL_TAG, model_sha256)
            for name, sha256 in origin.items():
                self._store.client.set_tag(self.run_id, f"sha256.{name}", sha256)
            self._store.add(self.run_id, [file for file in metrics_files if file.exists()], pictures)


@contextmanager
def training_run(store: Store, params_file: Path, earlier: str | None = None) -> Iterator[TrainingRun]:
    """Open a run with all params in it; close it as finished, failed or killed.

    earlier: id of the run of a training that was killed, which is gone on with where it is of the same params.
    """
    from mlflow.entities import Param
    from ruamel.yaml import YAML

    values = flatten(YAML(typ="safe", pure=True).load(params_file.read_text("utf-8")))
    params = {key: str(value) for key, value in values.items()}
    if earlier and store.goes_on(earlier, params):
        run_id = earlier
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
    """Add a later stage's metrics and pictures to the run of the model it worked on.

    measured: what depends on the machine's speed, which no metrics file holds.
    """
    with _only_a_mirror():
        run_id = store.run_of_model(model_sha256, stage)
        store.log_metrics(run_id, measured or {})
        store.add(run_id, [metrics_file], pictures)
        store.client.set_terminated(run_id, "FINISHED")


def log_own_run(store: Store, stage: str, metrics_file: Path, pictures: Iterable[Path]) -> None:
    """Log a stage that has to do with no model as a run of its own."""
    with _only_a_mirror():
        run_id = store.start_run(stage)
        store.add(run_id, [metrics_file], pictures)
        store.client.set_terminated(run_id, "FINISHED")


@contextmanager
def _only_a_mirror() -> Iterator[None]:
    """Turn a store that fails once the work is under way into a warning: the results do not depend on it."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        log.warning("not mirrored to MLflow: %s", str(error).strip().splitlines()[0])


def _origin() -> dict[str, str]:
    """Return what tells where a run comes from, empty where there is no such thing."""
    return {"parent_commit": git("rev-parse", "HEAD"), "dvc_experiment": os.environ.get("DVC_EXP_NAME", "")}


def store_uri() -> str:
    """Return the tracking URI; a relative sqlite path counts from the main checkout."""
    root = project_root()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return f"sqlite:///{root / 'mlflow.db'}"
    relative = re.fullmatch(r"sqlite:///([^/].*)", uri)
    return f"sqlite:///{root / relative.group(1)}" if relative else uri


def open_store() -> Store:
    """Connect before any work is done, so that a wrong URI costs seconds; create experiment and database under a lock."""
    uri, root = store_uri(), project_root()
    point_out_old_store(root)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    if re.fullmatch(r"sqlite://(/.*:memory:)?", uri):
        raise Unavailable(f"the MLflow store {uri} lies in memory and would be gone with the stage: correct MLFLOW_TRACKING_URI")
    served = uri.startswith(("http://", "https://"))
    artifacts = None if served else (root / "mlartifacts").as_uri()
    try:
        # MLflow's first use creates and migrates the database, which two processes at once would destroy.
        with FileLock(root / ".mlflow.lock"):
            if not served:
                create_engine(uri).connect().close()
            client = MlflowClient(tracking_uri=uri)
            found = client.get_experiment_by_name(EXPERIMENT)
            experiment_id = found.experiment_id if found else client.create_experiment(EXPERIMENT, artifact_location=artifacts)
    except (MlflowException, SQLAlchemyError, ModuleNotFoundError, ValueError) as error:
        reason = _without_password(str(error).strip().splitlines()[0])
        raise Unavailable(f"the MLflow store {_without_password(uri)} cannot be opened ({reason}): correct MLFLOW_TRACKING_URI") from error
    return Store(client, str(experiment_id))


def point_out_old_store(root: Path) -> None:
    """Say how to bring over the runs of an old file store, which MLflow itself no longer writes."""
    if any(root.glob("mlruns/*/meta.yaml")):
        log.warning(
            "%s is an old MLflow file store and is left alone; bring its runs over once with: "
            "mlflow migrate-filestore --source %s --target sqlite:///%s  (into a new file: move mlflow.db away first)",
            root / "mlruns", root / "mlruns", root / "mlflow.db",
        )  # fmt: skip


def allowed_name(name: str) -> str:
    """Return the name as MLflow takes it: letters of any script stay, other signs become their code, so names stay distinct."""
    return re.sub(r"[^\w.: \-]", lambda sign: f"_{ord(sign.group()):x}_", name)[:MAX_NAME]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys with dots; leave lists as they are."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        flat |= flatten(value, name) if isinstance(value, Mapping) else {name: value}
    return flat


def _without_password(uri: str) -> str:
    return re.sub(r"://([^:/@\s]*):\S*@", r"://\1:***@", uri).partition("?")[0]


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        open_store()
    except Unavailable as error:
        raise SystemExit(f"ERROR: {error}") from None
    print(store_uri())


if __name__ == "__main__":
    main()
