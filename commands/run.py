"""`make run`: runs the graph with a line for each stage and its time, then prints the report.

It shows all warnings, and the log of a stage that fails. `dvc repro` shows everything.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from typing import Any

from rich.console import Console
from rich.status import Status

from commands.dvc import waiting_for
from commands.report import print_report

RUNNING = re.compile(r"Running stage '(\w+)':")
RESTORED = re.compile(r"Stage '(\w+)' is cached - skipping run")
UNCHANGED = re.compile(r"Stage '(\w+)' didn't change, skipping")
COLUMNS = 22  # of a stage's name


def run_graph(console: Console) -> int:
    """Run `dvc repro`, print a line for each stage, and return its exit code."""
    command = [sys.executable, "-m", "dvc", "repro"]
    environment = os.environ | {"SENTIMENT_REPORT": "later"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with (
        subprocess.Popen(command, env=environment, **pipes) as process,
        waiting_for(process),
        console.status("dvc repro") as status,
    ):
        assert process.stdout is not None
        log = Log(console, status)
        for line in process.stdout:
            log.take(line.rstrip("\n"))
        code = process.wait()
        log.finish(code)
    return code


class Log:
    """The output of `dvc repro`, reduced to a line for each stage."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console, self._status = console, status
        self._stage: str | None = None
        self._lines: list[str] = []  # of the stage that runs, and of DVC after it
        self._unchanged = 0

    def take(self, line: str) -> None:
        """Read the next line of DVC or of a stage."""
        if found := RUNNING.match(line):
            self._end_stage()
            self._stage, self._start, self._lines = found[1], time.monotonic(), []
            self._status.update(self._stage)
        elif found := RESTORED.match(line):
            self._end_stage()
            self._console.print(f"{found[1]:<{COLUMNS}} restored from the cache")
        elif UNCHANGED.match(line):
            self._end_stage()
            self._unchanged += 1
        elif line.startswith("WARNING"):
            self._console.print(line, style="yellow", markup=False, soft_wrap=True)
        elif line.strip():
            self._lines.append(line)
            if line.startswith("INFO") and self._stage:
                self._status.update(f"{self._stage}  {line.partition(': ')[2]}".replace("[", r"\["))

    def finish(self, code: int) -> None:
        """Print the last stage, or its own log if it failed."""
        if code:
            for line in self._lines:
                self._console.print(line, markup=False, soft_wrap=True)
            return
        self._end_stage()
        if self._unchanged:
            self._console.print(f"{'unchanged':<{COLUMNS}} {self._unchanged} stage{'s' if self._unchanged > 1 else ''}")
        self._console.print()

    def _end_stage(self) -> None:
        if self._stage:
            self._console.print(f"{self._stage:<{COLUMNS}} {duration(time.monotonic() - self._start)}")
        self._stage = None


def duration(seconds: float) -> str:
    """Return seconds as a person writes them: 7 s, 1 min 52 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def main() -> None:
    """Run and report. The exit code is that of `dvc repro`. NO_COLOR is honoured."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    console = Console(highlight=False)
    try:
        code = run_graph(console)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if code:
        raise SystemExit(code)
    print_report(console)


if __name__ == "__main__":
    main()
