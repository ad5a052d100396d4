"""Benchmark of training with more cores and processes: one process of one thread, one of two, two of one.

It measures the time of an epoch on the sample's train split, with evaluation and checkpoint. The time is half of the difference
between three epochs and one. The machine has two cores. The table also compares the losses.
The command writes a table into docs/results/scaling.md.

    dvc repro preprocess && python -m benchmarks.scaling
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.tables import SCALING, write_table

WAYS = {"1 process, 1 thread": (1, ""), "1 process, 2 threads": (2, ""), "2 processes, 1 thread each": (1, "torchrun --nproc-per-node 2")}


def run(threads: int, launch: str, epochs: int) -> tuple[float, float]:
    """Return the seconds of the stage and its last training loss."""
    yaml = YAML()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = yaml.load(Path("params.yaml"))
        values["train"].update(threads=threads, epochs=epochs, early_stopping_patience=epochs)
        with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
            yaml.dump(values, stream)
        files = {"params": folder / "params.yaml", "train": "data/train.csv", "validation": "data/validation.csv"}
        files |= {"base": "models/base", "teacher": "data/raw/none.csv", "preprocess-metrics": "metrics/preprocess.json"}
        files |= {"model": folder / "final", "metrics": folder / "train.json", "picture": folder / "curve.png"}
        command = [sys.executable, "-m", "stages.train", *(str(part) for flag, file in files.items() for part in (f"--{flag}", file))]
        store = {"DVC_ROOT": name, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        started = time.perf_counter()
        done = subprocess.run(command, env={**os.environ, **store, "SENTIMENT_LAUNCH": launch}, capture_output=True, text=True)
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


if __name__ == "__main__":
    main()
