"""`make report`: prints the saved reports of the graph, where its pages are, and what differs from the committed metrics.

Reads data/evaluation.txt, data/emotion_distribution.csv and metrics/; writes nothing.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from stages.shared.mlflow_store import flatten
from stages.shared.project import git

REPORT = Path("data/evaluation.txt")
EMOTIONS = (Path("data/emotion_distribution.png"), Path("data/emotion_distribution.csv"))
METRICS = Path("metrics")
PAGES = {
    "data/report.html": "your data: classes, lengths, duplicates, dropped rows",
    "data/learning_curve.png": "loss of each epoch",
    "data/confusion.png": "which classes the model confuses",
    "data/roc.png": "true against false positives",
}
NEXT = {
    "make serve": "answer over HTTP: http://127.0.0.1:8000/docs",
    "make data FILE=data/raw/mine.csv": "look at your own texts, and get the command that trains on them",
    "dvc metrics diff": "compare with the last commit",
}


class Moved(NamedTuple):
    """A metric outside of the committed interval. name: file and key."""

    name: str
    before: float
    low: float
    high: float
    now: float

    def __str__(self) -> str:
        return f"{self.name} {self.before:.4g} -> {self.now:.4g} (interval {self.low:.4g} to {self.high:.4g})"


def print_report(console: Console) -> None:
    """Print the report, the pages and the next commands; end with an error message where there is no report yet."""
    if not REPORT.exists():
        raise SystemExit("ERROR: there is no report yet: type make run")
    if all(file.exists() for file in EMOTIONS):
        console.print(f"Emotions of the dialogues: {EMOTIONS[0]} (table: {EMOTIONS[1]})\n", soft_wrap=True)
    console.print(REPORT.read_text("utf-8"), markup=False, soft_wrap=True)
    for line in against_committed(committed_metrics(), current_metrics()):
        console.print(line, markup=False, soft_wrap=True)
    print_list(console, "Look at", {page: words for page, words in PAGES.items() if Path(page).exists()})
    print_list(console, "Next", NEXT)


def print_list(console: Console, title: str, lines: Mapping[str, str]) -> None:
    """Print a title and, below it, commands or files with their explanations."""
    width = max(map(len, lines), default=0)
    console.print(f"\n[bold]{title}[/bold]")
    for name, words in lines.items():
        console.print(Text.assemble("  ", (name.ljust(width), "cyan"), "  ", words), soft_wrap=True)


def against_committed(committed: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Say in one or two lines how the metrics differ from the committed ones; nothing without committed ones."""
    if not committed:
        return []
    if committed == current:
        return ["The metrics equal the committed ones."]
    before, now = (machine_of(metrics) for metrics in (committed, current))
    cause = f"this machine ({now}) is not theirs ({before})" if before != now else "params, data or code have changed"
    outside = [str(moved) for moved in moved_metrics(committed, current)]
    verdict = f"Outside of their 95 % interval: {'; '.join(outside)}." if outside else "None moved out of its 95 % interval."
    return [f"The metrics differ from the committed ones: {cause}.", f"{verdict} All differences: dvc metrics diff"]


def machine_of(metrics: Mapping[str, Any]) -> str:
    """Return the machine of the training in words, with all that decides the bytes of a model."""
    machine = metrics.get("train", {}).get("machine", {})
    return ", ".join(f"{value}" if isinstance(value, str) else f"{name} {value}" for name, value in machine.items()) or "unknown"


def moved_metrics(committed: Mapping[str, Any], current: Mapping[str, Any]) -> list[Moved]:
    """Return the metrics of evaluate that have an interval and now lie outside of the committed one."""
    before, after = committed.get("evaluate", {}), current.get("evaluate", {})
    return [
        Moved(f"evaluate.{name}", was, low, high, now)
        for name, (low, high) in flatten(before.get("intervals", {})).items()
        if (was := value_at(before, name)) is not None and (now := value_at(after, name)) is not None and not low <= now <= high
    ]


def value_at(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return the metric of a dotted name, or None."""
    found: Any = metrics
    for key in name.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def current_metrics() -> dict[str, Any]:
    """Read all metrics files: stage -> content."""
    return {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(METRICS.glob("*.json"))}


def committed_metrics() -> dict[str, Any]:
    """Read all metrics files of the last commit; empty without git."""
    files = [Path(name) for name in git("ls-tree", "--name-only", "HEAD", f"{METRICS}/").split() if name.endswith(".json")]
    return {file.stem: json.loads(git("show", f"HEAD:{file}")) for file in files}


def main() -> None:
    """Print to the terminal. NO_COLOR is honoured."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print_report(Console(highlight=False))


if __name__ == "__main__":
    main()
