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
from typing import Any

from ruamel.yaml import YAML

from commands.dvc import error_messages, fresh_copy, output_of, run_to_its_end
from stages.shared.errors import StageError
from stages.shared.project import project_root

TOLERANCE = 0.03  # of the validation accuracy, between different machines or recipes
MAX_DIFFERENT_ANSWERS = 2  # of a validation split so small that the tolerance is less than two answers
DECIDE_BYTES = ("machine", "recipe")  # metrics that, if equal, promise equal bytes; short memory changes the recipe


def verify(folder: Path) -> str:
    """Train the last commit again in folder; return the verdict, or raise StageError if the model is another one."""
    copy = fresh_copy(folder)
    for beside in project_root().resolve().parent.iterdir():  # params.yaml may name files there
        with suppress(FileExistsError):
            (folder / beside.name).symlink_to(beside)
    try:
        model = output_of("train", "outs", copy)
        committed_hash, committed = _locked_hash(copy, model), _metrics(copy, "train")
    except (OSError, LookupError):
        raise StageError("no training is committed: run `make lock`, and commit dvc.lock and metrics/") from None
    _dvc(copy, "checkout", "--quiet", "--allow-missing")
    _dvc(copy, "repro", "--quiet", "preprocess")
    _dvc(copy, "repro", "--quiet", "--force", "--single-item", "--no-run-cache", "train")
    found_hash, found = _locked_hash(copy, model), _metrics(copy, "train")
    if found_hash == committed_hash:
        return f"The same bytes: {model} is {found_hash}, as dvc.lock says."
    tolerance = max(TOLERANCE, MAX_DIFFERENT_ANSWERS / _metrics(copy, "preprocess")["rows"]["validation"])
    facts = _table(
        ("", "now", "committed"),
        (model, found_hash, committed_hash),
        ("validation accuracy", f"{found['validation_accuracy']:.4f}", f"{committed['validation_accuracy']:.4f}"),
        *(
            (f"{name} {key}", str(found[name].get(key)), str(committed[name].get(key)))
            for name in DECIDE_BYTES
            for key in dict.fromkeys([*committed[name], *found[name]])
            if found[name].get(key) != committed[name].get(key)
        ),
    )
    if abs(found["validation_accuracy"] - committed["validation_accuracy"]) > tolerance:
        raise StageError(
            f"this is not the committed model, for its accuracy differs by more than {tolerance:.2f}: "
            f"run `make lock`, and commit dvc.lock and metrics/\n{facts}"
        )
    if all(found[name] == committed[name] for name in DECIDE_BYTES):
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
