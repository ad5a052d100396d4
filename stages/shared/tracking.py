"""The MLflow mirror: params, metrics, pictures and hashes of a stage come in, and a run in the MLflow store goes out.

Nothing in the graph reads the store. `train` opens one run, resumes it after a kill, and tags it with the sha256 of the model. Later
stages of the same DVC experiment add to the newest run with that tag.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stages.shared.errors import first_line
from stages.shared.mlflow_store import Store, flatten

log = logging.getLogger("tracking")


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

    def finish(self, model_sha256: str, origin: Mapping[str, str], details: Mapping[str, Path], pictures: Iterable[Path]) -> None:
        """Mirror all figures and pictures, and tag the run with the hashes of the model and of its origin."""
        with _only_a_mirror():
            self._store.link_model(self.run_id, model_sha256)
            for name, sha256 in origin.items():
                self._store.client.set_tag(self.run_id, f"sha256.{name}", sha256)
            self._store.add(self.run_id, {stage: file for stage, file in details.items() if file.exists()}, pictures)


@contextmanager
def training_run(store: Store, params_file: Path, earlier_run_id: str | None = None) -> Iterator[TrainingRun]:
    """Open a run with all params, and close it as finished, failed or killed.

    earlier_run_id: run of a stopped training, which is resumed if its params and origin are the same.
    """
    params = params_of(params_file)
    run_id = earlier_run_id if earlier_run_id and store.reopen(earlier_run_id, params) else store.start_run("train", params)
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


def params_of(params_file: Path) -> dict[str, str]:
    """Return all params by their names in MLflow, as texts."""
    from ruamel.yaml import YAML

    return {key: str(value) for key, value in flatten(YAML(typ="safe", pure=True).load(params_file.read_text("utf-8"))).items()}


def add_to_model(
    store: Store,
    stage: str,
    model_sha256: str,
    params_file: Path,
    details: Path,
    pictures: Iterable[Path] = (),
    measured: Mapping[str, float] | None = None,
) -> None:
    """Add all figures and pictures of a later stage to the run of its model.

    measured: figures that depend on the speed of the machine, which no file contains.
    """
    with _only_a_mirror():
        run_id = store.run_of_model(model_sha256, stage, params_of(params_file))
        store.log_metrics(run_id, measured or {})
        store.add(run_id, {stage: details}, pictures)
        store.client.set_terminated(run_id, "FINISHED")


def log_own_run(store: Store, stage: str, params_file: Path, details: Path, pictures: Iterable[Path]) -> None:
    """Log a stage without a model as a separate run."""
    with _only_a_mirror():
        run_id = store.start_run(stage, params_of(params_file))
        store.add(run_id, {stage: details}, pictures)
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
