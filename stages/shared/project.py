"""The main checkout, which queued and temporary experiments run in copies of, and what git and DVC are asked to do in it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.shared.errors import StageError


def project_root() -> Path:
    """Return DVC_ROOT (the main repository in every mode of DVC), else the root of the git checkout, else the folder we are in."""
    if root := os.environ.get("DVC_ROOT"):
        return Path(root)
    return Path(git("rev-parse", "--show-toplevel") or Path.cwd())


def git(*arguments: str) -> str:
    """Return what a git command prints, or an empty string where git or the repository is missing."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


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


def dvc_cache() -> Path:
    """Return the folder that DVC keeps the contents of files in, which several projects may share."""
    done = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], cwd=project_root(), capture_output=True, text=True)
    return (project_root() / (done.stdout.strip() or ".dvc/cache")).resolve()
