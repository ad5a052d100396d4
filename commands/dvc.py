"""DVC as the commands run it: to its end, on a fresh copy of the project, on files of the user's."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.shared.errors import StageError
from stages.shared.project import dvc_cache, project_root


def run_to_its_end(command: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command as subprocess.run does; at Ctrl-C, which it gets too, wait until it has tidied up, however long that takes."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            said, complained = process.communicate()
        except KeyboardInterrupt:
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def dvc_add(*files: Path) -> None:
    """Have DVC track files of the user's, and git ignore them; raise StageError where it does not."""
    try:
        subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", *map(str, files)], check=True)
    except subprocess.CalledProcessError:
        raise StageError(f"DVC does not track {', '.join(map(str, files))} (its reason stands above): type dvc add yourself") from None


def fresh_copy(folder: Path) -> Path:
    """Clone what is committed into folder/project, which shares the cache of DVC; return it, or raise StageError."""
    copy = folder / "project"
    for command, place in (
        (["git", "clone", "--quiet", str(project_root()), str(copy)], folder),
        ([sys.executable, "-m", "dvc", "config", "--local", "cache.dir", str(dvc_cache())], copy),
    ):
        if subprocess.run(command, cwd=place, stdout=sys.stderr).returncode:
            raise StageError(f"the project cannot be copied to {copy} (the reason stands above)")
    return copy
