"""The MLflow run of a training: one run, also if the training is killed and resumed.

In: an open MLflow store and the folder of the training. Out: the run, whose id the folder keeps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.shared import tracking
from stages.shared.mlflow_store import Store
from stages.shared.training.checkpoints import TrainingFolder, write_atomic


@contextmanager
def mlflow_run(store: Store | None, params_file: Path, folder: TrainingFolder) -> Iterator[tracking.TrainingRun | None]:
    """Open a run, or reopen that of a killed training; without a store, in a process that is not the main one, yield None."""
    if store is None:
        yield None
        return
    earlier = folder.mlflow_run.read_text("utf-8") if folder.mlflow_run.exists() else None
    with tracking.training_run(store, params_file, earlier) as run_log:
        write_atomic(folder.mlflow_run, run_log.run_id.encode())
        yield run_log
