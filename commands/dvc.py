"""What the commands share: DVC and git as subprocesses, the paths that dvc.yaml owns, and how a command ends."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from stages.shared.errors import StageError
from stages.shared.project import dvc_cache, project_root

NO_TEXTS = ("true", "false", "null", "nan", "inf")  # words that Hydra takes for other values


@contextmanager
def error_messages(interrupted: str) -> Iterator[None]:
    """Turn an error or Ctrl-C in the block into a message and an exit code: 1 for an error, 130 for Ctrl-C.

    interrupted: what Ctrl-C left, and what to do next.
    """
    try:
        yield
        return
    except (StageError, OSError) as error:
        message, code = f"ERROR: {error}", 1
    except KeyboardInterrupt:
        message, code = f"interrupted: {interrupted}", 130
    print(message, file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def waiting_for(process: "subprocess.Popen[str]") -> Iterator[None]:
    """After Ctrl-C, which reaches the process too, wait until it has cleaned up."""
    try:
        yield
    except KeyboardInterrupt:
        process.wait()
        raise


def run_to_its_end(command: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command as subprocess.run does, and let it clean up after Ctrl-C."""
    with subprocess.Popen(command, text=True, **options) as process, waiting_for(process):
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def dvc_add(*files: Path) -> None:
    """Make DVC track files of the user, and git ignore them; raise StageError if DVC refuses."""
    try:
        subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", *map(str, files)], check=True)
    except subprocess.CalledProcessError:
        names = " ".join(map(str, files))
        raise StageError(f"DVC does not track {names} (see the message above): correct that, then type dvc add {names}") from None


def experiment(params: Sequence[str]) -> str:
    """Return the command that runs the graph with these params, each as name=value, quoted for a shell."""
    return "dvc exp run " + " ".join(f"-S {shlex.quote(param)}" for param in params)


def param_value(value: str) -> str:
    """Return a text as a value for `-S`, in quotes where Hydra would read it otherwise. Raises StageError for what Hydra cannot read."""
    if "${" in value or value == "???":
        raise StageError(f"DVC cannot take the value {value!r} in -S: rename it, or set the param in params.yaml")
    if re.fullmatch(r"(\.{0,2}/)?[A-Za-z_][A-Za-z0-9_./-]*", value) and value.casefold() not in NO_TEXTS:
        return value
    escaped = re.sub(r'(\\*)"', lambda found: found[1] * 2 + '\\"', value)
    return '"' + re.sub(r"(\\+)$", lambda found: found[1] * 2, escaped) + '"'


def listed(values: Sequence[str]) -> str:
    """Return a list of texts as a value for `-S`."""
    return f"[{','.join(map(param_value, values))}]"


def output_of(stage: str, kind: Literal["outs", "metrics"], project: Path) -> str:
    """Return the first path of a kind that a stage writes, relative to the project, as its dvc.yaml states it."""
    entry = YAML(typ="safe", pure=True).load(project / "dvc.yaml")["stages"][stage][kind][0]
    return entry if isinstance(entry, str) else str(next(iter(entry)))


def fresh_copy(folder: Path) -> Path:
    """Clone the last commit into folder/project and return that; the clone shares DVC's cache. Raises StageError."""
    copy = folder / "project"
    for command, place in (
        (["git", "clone", "--quiet", str(project_root()), str(copy)], folder),
        ([sys.executable, "-m", "dvc", "config", "--local", "cache.dir", str(dvc_cache())], copy),
    ):
        if subprocess.run(command, cwd=place, stdout=sys.stderr).returncode:
            raise StageError(f"cannot copy the project to {copy}: see the message above")
    return copy
