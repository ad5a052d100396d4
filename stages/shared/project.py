"""The main checkout, which queued and temporary experiments run in copies of, and where its DVC cache is."""

import os
import subprocess
import sys
from pathlib import Path


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


def dvc_cache() -> Path:
    """Return the folder that DVC keeps the contents of files in, which several projects may share."""
    done = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], cwd=project_root(), capture_output=True, text=True)
    return (project_root() / (done.stdout.strip() or ".dvc/cache")).resolve()
