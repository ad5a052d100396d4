"""`make verify`: trains the last commit again in a fresh copy, and compares the model with dvc.lock and metrics/train.json.

It ignores the working tree and changes nothing in it. Exit code 0: the bytes are equal, or another machine or recipe gave an equally
accurate model. 1: the model differs. 130: interrupted.
"""

import argparse
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from commands.dvc import error_messages, fresh_copy, output_of, run_to_its_end
from stages.shared.errors import StageError
from stages.shared.project import project_root

TOLERANCE = 0.03  # of the validation accuracy, between different machines or recipes
MAX_DIFFERENT_ANSWERS = 2  # of a validation split so small that the tolerance is less than two answers
DECIDE_BYTES = ("machine", "recipe")  # metrics that, if equal, promise equal bytes; short memory changes the recipe
COMMIT = "run `make lock`, and commit dvc.lock and metrics/"


class Training(NamedTuple):
    """The hash of a model, and the metrics of its training."""

    hash: str
    metrics: dict[str, Any]


def verify(folder: Path) -> str:
    """Train the last commit again in folder; return the verdict, or raise StageError if the model is another one."""
    copy = fresh_copy(folder)
    for beside in project_root().resolve().parent.iterdir():  # params.yaml may name files there
        with suppress(FileExistsError):
            (folder / beside.name).symlink_to(beside)
    try:
        model = output_of("train", "outs", copy)
        committed = Training(_locked_hash(copy, model), _metrics(copy, "train"))
    except (OSError, LookupError):
        raise StageError(f"no training is committed: {COMMIT}") from None
    _dvc(copy, "checkout", "--quiet", "--allow-missing")
    _dvc(copy, "repro", "--quiet", "preprocess")
    _dvc(copy, "repro", "--quiet", "--force", "--single-item", "--no-run-cache", "train")
    found = Training(_locked_hash(copy, model), _metrics(copy, "train"))
    return verdict(model, found, committed, _metrics(copy, "preprocess")["rows"]["validation"])


def verdict(model: str, found: Training, committed: Training, texts: int) -> str:
    """Compare a training with the committed one; return the verdict, or raise StageError if the model is another one.

    texts: of the validation split.
    """
    if found.hash == committed.hash:
        return f"The same bytes: {model} is {found.hash}, as dvc.lock says."
    tolerance = max(TOLERANCE, MAX_DIFFERENT_ANSWERS / texts)
    now, before = found.metrics, committed.metrics
    facts = _table(
        ("", "now", "committed"),
        (model, found.hash, committed.hash),
        ("validation accuracy", f"{now['validation_accuracy']:.4f}", f"{before['validation_accuracy']:.4f}"),
        *(
            (f"{name} {key}", str(now[name].get(key)), str(before[name].get(key)))
            for name in DECIDE_BYTES
            for key in dict.fromkeys([*before[name], *now[name]])
            if now[name].get(key) != before[name].get(key)
        ),
    )
    if abs(now["validation_accuracy"] - before["validation_accuracy"]) > tolerance:
        raise StageError(f"this is not the committed model, for its accuracy differs by more than {tolerance:.2f}: {COMMIT}\n{facts}")
    if all(now[name] == before[name] for name in DECIDE_BYTES):
        raise StageError(f"same accuracy but different bytes on the same kind of machine: training is not reproducible here\n{facts}")
    return f"Same accuracy (within {tolerance:.2f}) but different bytes, as expected of another machine or recipe\n{facts}"


def _table(*rows: tuple[str, str, str]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _locked_hash(project: Path, out: str) -> str:
    """Return the hash that dvc.lock has for an output of train."""
    lock = YAML(typ="safe", pure=True).load(project / "dvc.lock")
    return {entry["path"]: str(entry["md5"]) for entry in lock["stages"]["train"]["outs"]}[out]


def _metrics(project: Path, stage: str) -> dict[str, Any]:
    return dict(json.loads((project / output_of(stage, "metrics", project)).read_text("utf-8")))


def _dvc(project: Path, *command: str) -> None:
    """Run dvc without the variables of an outer DVC and with a tracking store in the copy; its messages go to the console."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    environment = outer | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    done = run_to_its_end([sys.executable, "-m", "dvc", *command], cwd=project, env=environment, stdout=sys.stderr)
    if done.returncode:
        raise StageError(f"`dvc {' '.join(command)}` failed in the fresh copy (see above): make `dvc repro` work on the last commit")


def main() -> None:
    """Verify in a temporary folder, and print the verdict."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with error_messages("nothing is verified"), tempfile.TemporaryDirectory() as folder:
        print(verify(Path(folder)))


if __name__ == "__main__":
    main()
