"""Commands and stages as tests run them, and the files that go in and come out."""

import json
import os
import subprocess
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
