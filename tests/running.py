"""Commands and stages as tests run them, and the files that go in and come out."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.warm import forkable, run_forked

ROOT = Path(__file__).resolve().parents[1]
NONE = ROOT / "data/raw/none.csv"  # stands for a file or folder that is not given


def run_command(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command and return what it printed and its exit code; nothing is raised. A stage is forked from a warm process."""
    words = [str(part) for part in command]
    if forkable(words, cwd, environment):
        return run_forked(words, environment, timeout=900)
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}, timeout=900)


def dvc(project: Path, *arguments: str, **environment: str) -> str:
    """Run a DVC command that must succeed; return what it printed."""
    return output_of(sys.executable, "-m", "dvc", *arguments, cwd=project, **environment)


def typed(hint: str, project: Path) -> str:
    """Type the one command that a message names, in a shell; return what it printed. It must succeed."""
    (command,) = {"".join(found) for found in re.findall(r"`((?:dvc|make) [^`]+)`|(?:type|command):? ((?:dvc|make) .+)", hint)}
    return output_of("bash", "-c", command.replace("make ", "make -o install "), cwd=project)  # -o: the environment is there


def output_of(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command that must succeed; return what it printed."""
    done = run_command(*command, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def stages_run(output: str) -> set[str]:
    """Return the stages that DVC says it has run."""
    return set(re.findall(r"Running stage '(\w+)'", output))


def edit(file: Path, before: str, after: str) -> None:
    """Replace a part of a text file, which must be there."""
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), "utf-8")


def write_params(file: Path, changes: dict[str, dict[str, object]]) -> Path:
    """Write the project's params.yaml with some values changed."""
    from ruamel.yaml import YAML

    yaml = YAML()
    content = yaml.load((ROOT / "params.yaml").read_text("utf-8"))
    for section, values in changes.items():
        content[section].update(values)
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    return file


def read_json(file: Path) -> dict:
    return json.loads(file.read_text("utf-8"))
