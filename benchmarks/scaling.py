"""Benchmark of training with more cores and processes, and of two trainings that share the cores.

The first table has the time of an epoch on the sample's train split, with evaluation and checkpoint: half of the difference between
three epochs and one. The machine has two cores. The table also compares the losses.
The second table has the time of the stage with one epoch, alone and with a second training beside it, by how long waiting threads spin.
The command writes both tables into docs/results/scaling.md.

    dvc repro preprocess && python -m benchmarks.scaling
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.tables import SCALING, write_table

WAYS = {"1 process, 1 thread": (1, ""), "1 process, 2 threads": (2, ""), "2 processes, 1 thread each": (1, "torchrun --nproc-per-node 2")}


WAITS = {"libgomp's default": {"GOMP_SPINCOUNT": "300000"}, "ours": {}, "sleep at once": {"OMP_WAIT_POLICY": "passive"}}
TURNS = 3


def run(threads: int | str, launch: str, epochs: int, **variables: str) -> tuple[float, float]:
    """Return the seconds of the stage and its last training loss."""
    yaml = YAML()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = yaml.load(Path("params.yaml"))
        values["train"].update(threads=threads, epochs=epochs, early_stopping_patience=epochs)
        with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
            yaml.dump(values, stream)
        files = {"params": folder / "params.yaml", "train": "data/train.csv", "validation": "data/validation.csv"}
        files |= {"classes": "data/classes.json"}
        files |= {"base": "models/base", "teacher": "data/raw/none.csv", "preprocess-details": "data/report.json"}
        files |= {"model": folder / "final", "metrics": folder / "compared.json", "details": folder / "train.json"}
        files |= {"picture": folder / "curve.png"}
        command = [sys.executable, "-m", "stages.train", *(str(part) for flag, file in files.items() for part in (f"--{flag}", file))]
        store = {"DVC_ROOT": name, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        started = time.perf_counter()
        done = subprocess.run(command, env={**os.environ, **store, **variables, "SENTIMENT_LAUNCH": launch}, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return time.perf_counter() - started, json.loads((folder / "train.json").read_text("utf-8"))["curve"][-1]["train_loss"]


def main() -> None:
    """Measure all ways and write the table."""
    lines = ["| | s an epoch | times one thread | training loss after 3 epochs |", "|---|---|---|---|"]
    alone = 0.0
    for words, (threads, launch) in WAYS.items():
        short, _ = run(threads, launch, 1)
        long, loss = run(threads, launch, 3)
        epoch = (long - short) / 2
        alone = alone or epoch
        lines.append(f"| {words} | {epoch:.1f} | {alone / epoch:.2f} x | {loss:.4f} |")
    write_table("scaling", "\n".join(lines), SCALING)
    write_table("sharing", sharing(), SCALING)


def sharing() -> str:
    """Return the table of the two trainings side by side; the median of the turns counts."""
    seconds: dict[str, list[tuple[float, float]]] = {words: [] for words in WAITS}
    for _ in range(TURNS):
        for words, variables in WAITS.items():
            alone, _loss = run("auto", "", 1, **variables)
            with ThreadPoolExecutor(2) as pool:
                both = [pool.submit(run, "auto", "", 1, **variables) for _ in range(2)]
                beside = max(training.result()[0] for training in both)
            seconds[words].append((alone, beside))
    lines = ["| waiting threads | s alone | s until both of two have ended |", "|---|---|---|"]
    for words, turns in seconds.items():
        alone, beside = (statistics.median(column) for column in zip(*turns, strict=True))
        lines.append(f"| {words} | {alone:.1f} | {beside:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
