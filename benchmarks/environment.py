"""Environments for the peers of the benchmarks, separate from the project's. Each has a folder and a requirements file."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path


def install(folder: Path, requirements: Path) -> None:
    """Create the environment, or update it if the requirements have changed."""
    required, stamp = _with_includes(requirements), folder / "installed"
    if stamp.is_file() and stamp.read_text("utf-8") == required:
        return
    print(f"Installing {requirements} into {folder}, a few minutes", file=sys.stderr)
    torch = re.findall(r"^torch==[\d.]+", required, re.MULTILINE)
    index = shlex.split(os.environ.get("TORCH_INDEX", ""))  # as in the Makefile: the index of the CPU build
    pip = [str(folder / "bin/pip"), "install", "--quiet"]
    for command in ([sys.executable, "-m", "venv", str(folder)], [*pip, *index, *torch], [*pip, "-r", str(requirements)]):
        subprocess.run(command, check=True)
    stamp.write_text(required, "utf-8")


def _with_includes(requirements: Path) -> str:
    """Return the text of the file, with the text of the files that it includes with -r."""
    lines = requirements.read_text("utf-8").splitlines(keepends=True)
    return "".join(_with_includes(requirements.parent / line[3:].strip()) if line.startswith("-r ") else line for line in lines)
