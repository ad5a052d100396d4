"""Train again in a fresh copy of the committed project, and compare with what dvc.lock and metrics/train.json promise.

Run as `make verify`. Exit code 0: the same bytes, or, where the CPU, the threads or the parts of a step are others, a model as good;
1: neither. The working tree is not looked at, and nothing in it changes.
"""

import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from commands.dvc import fresh_copy, run_to_its_end
from stages.shared.errors import StageError
from stages.shared.project import project_root

TOLERANCE = 0.03  # of the validation accuracy, on a machine that computes otherwise
ANSWERS = 2  # that may differ where the tolerance is fewer
MODEL = "models/final"
DECISIVE = ("machine", "recipe")  # of the metrics: with equal ones the bytes are equal; memory that is short makes other steps


def verify(folder: Path) -> str:
    """Retrain what is committed in folder; return the verdict, or raise StageError where the promise is not kept."""
    copy = fresh_copy(folder)
    for beside in project_root().resolve().parent.iterdir():  # params.yaml may name files there
        with suppress(FileExistsError):
            (folder / beside.name).symlink_to(beside)
    try:
        promised, metrics = _model_hash(copy), _metrics(copy, "train")
    except (OSError, LookupError):
        raise StageError("no training is committed: run `make lock`, and commit dvc.lock and metrics/") from None
    _dvc(copy, "checkout", "--quiet", "--allow-missing")
    _dvc(copy, "repro", "--quiet", "preprocess")
    _dvc(copy, "repro", "--quiet", "--force", "--single-item", "--no-run-cache", "train")
    found, again = _model_hash(copy), _metrics(copy, "train")
    if found == promised:
        return f"The same bytes: {MODEL} is {promised}, as dvc.lock says."
    tolerance = max(TOLERANCE, ANSWERS / _metrics(copy, "preprocess")["rows"]["validation"])
    apart = abs(again["validation_accuracy"] - metrics["validation_accuracy"])
    facts = (
        f"{MODEL} is {found}, and {promised} in dvc.lock; validation accuracy {again['validation_accuracy']:.4f} and "
        f"{metrics['validation_accuracy']:.4f} (tolerance {tolerance:.2f}); "
        + "; ".join(f"{name} {again[name]} and {metrics[name]}" for name in DECISIVE)
    )
    if apart > tolerance:
        raise StageError(f"not the committed model: {facts}")
    if all(again[name] == metrics[name] for name in DECISIVE):
        raise StageError(f"a model as good, and other bytes on a machine of the same kind: {facts}")
    return f"Other bytes, as from another machine or other steps, and a model as good: {facts}."


def _model_hash(project: Path) -> str:
    lock = YAML(typ="safe", pure=True).load(project / "dvc.lock")
    return {out["path"]: str(out["md5"]) for out in lock["stages"]["train"]["outs"]}[MODEL]


def _metrics(project: Path, stage: str) -> dict[str, Any]:
    return dict(json.loads((project / f"metrics/{stage}.json").read_text("utf-8")))


def _dvc(project: Path, *command: str) -> None:
    """Run dvc apart from an outer DVC and from the project's MLflow store; its messages go to the console."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    environment = outer | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "REPORT": "later"}
    done = run_to_its_end([sys.executable, "-m", "dvc", *command], cwd=project, env=environment, stdout=sys.stderr)
    if done.returncode:
        raise StageError(f"`dvc {' '.join(command)}` failed (its reason stands above)")


def main() -> None:
    try:
        with tempfile.TemporaryDirectory() as name:
            print(verify(Path(name)))
    except StageError as error:
        raise SystemExit(f"ERROR: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("stopped: nothing is verified") from None


if __name__ == "__main__":
    main()
