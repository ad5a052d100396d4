"""The main checkout of the project and DVC's cache. Queued and temporary experiments run in copies of the checkout."""

import os
import subprocess
import sys
from pathlib import Path

from stages.shared.environment import read_environment
from stages.shared.errors import StageError


def project_root() -> Path:
    """Return DVC_ROOT (in every mode of DVC the main checkout), else the root of the git checkout, else the current folder."""
    return read_environment().dvc_root or Path(git("rev-parse", "--show-toplevel") or Path.cwd())


def git(*arguments: str) -> str:
    """Return what a git command prints, or an empty string if git or the repository is missing."""
    try:
        return checked_git(*arguments)
    except (OSError, StageError):
        return ""


def checked_git(*arguments: str, **environment: str) -> str:
    """Return what a git command prints. environment: variables for this command alone. Raises StageError if it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        raise StageError(f"git {arguments[0]} failed ({done.stderr.strip()}): correct that, then run the same command again")
    return done.stdout.strip()


def dvc_cache() -> Path:
    """Return the folder in which DVC keeps the contents of files. Several projects may share it."""
    done = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], cwd=project_root(), capture_output=True, text=True)
    return (project_root() / (done.stdout.strip() or ".dvc/cache")).resolve()
