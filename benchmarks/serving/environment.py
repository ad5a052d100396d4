"""The environment of the peers, which is apart from the project's."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

FOLDER = Path(".venv-peers")
REQUIREMENTS = (Path("benchmarks/requirements.txt"), Path("serving/requirements.txt"))


def install_peers() -> None:
    """Make the environment, or bring it up to date where the requirements have changed since."""
    wanted, stamp = "".join(file.read_text("utf-8") for file in REQUIREMENTS), FOLDER / "installed"
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    print(f"Installing the peers into {FOLDER}, a few minutes", file=sys.stderr)
    torch = re.findall(r"^torch==[\d.]+", wanted, re.MULTILINE)
    index = shlex.split(os.environ.get("TORCH_INDEX", ""))  # as in the Makefile: where the CPU build is
    pip = [str(FOLDER / "bin/pip"), "install", "--quiet"]
    for command in ([sys.executable, "-m", "venv", str(FOLDER)], [*pip, *index, *torch], [*pip, "-r", str(REQUIREMENTS[0])]):
        subprocess.run(command, check=True)
    stamp.write_text(wanted, "utf-8")
