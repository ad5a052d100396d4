"""Benchmark of scoring a file: its speed compared with the classifier itself, and its memory.

Speed: `Classifier.predict` answers sentences of SST-2 train (read from ../shared/data) in one call. `serving.score` answers the same
sentences as CSV. Both run in turns on all cores, and the best pass counts. Memory: the peak of the process for two numbers of these
sentences and for a million rows. One in a hundred of the million rows has a sentence. The others have no text, which saves an hour.
The command writes a table into docs/results/performance.md.

    dvc repro && python -m benchmarks.score
"""

import argparse
import csv
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.tables import PERFORMANCE, write_table
from benchmarks.transfer import DATA, read_table
from serving.inference.classifier import Classifier
from serving.inference.cpu import usable_cores

BUNDLE = Path("models/serving")
SENTENCES, PASSES = 20_000, 2
FULL, SPARSE = (10_000, 100_000), 1_000_000  # rows


class Scored(NamedTuple):
    """One run of the command. texts_per_second: from its log, without loading. seconds: of the process, with start and loading."""

    texts_per_second: float
    seconds: float
    peak_mib: float


def score(folder: Path, texts: Iterable[str]) -> Scored:
    """Run the command on a CSV of the texts."""
    source = folder / "texts.csv"
    with source.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([text] for text in itertools.chain(["text"], texts))
    start = time.perf_counter()
    command: list[str | Path] = [sys.executable, "-m", "serving.score", source, folder / "scored.csv", "--model", BUNDLE]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        log = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    speed = re.search(r"([\d,]+) texts/s", log)
    if process.returncode or not speed:
        raise SystemExit(log)
    return Scored(float(speed[1].replace(",", "")), seconds, usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def table(sentences: list[str], folder: Path) -> str:
    """Measure speed and memory, and return the tables."""
    # Memory comes first, because Linux counts the memory of the parent process as that of its child.
    peaks = {f"{rows:,} sentences": score(folder, itertools.islice(itertools.cycle(sentences), rows)).peak_mib for rows in FULL}
    sparse = [text for sentence in sentences for text in (sentence, *[""] * 99)][:SPARSE]
    peaks[f"{SPARSE:,} rows, one in a hundred with a sentence"] = score(folder, sparse).peak_mib
    classifier = Classifier.load(BUNDLE)
    alone, scored = [], []
    for _ in range(PASSES):
        start = time.perf_counter()
        classifier.predict(sentences)
        alone.append(len(sentences) / (time.perf_counter() - start))
        scored.append(score(folder, sentences))
    best, logged = max(alone), max(run.texts_per_second for run in scored)
    with_start = len(sentences) / min(run.seconds for run in scored)
    lines = [
        f"| {len(sentences):,} sentences, {classifier.spec.name}, {usable_cores()} cores | texts/s | share |",
        "|---|---|---|",
        f"| `Classifier.predict`, all in one call | {best:,.0f} | 100% |",
        f"| `serving.score`, CSV to CSV | {logged:,.0f} | {logged / best:.0%} |",
        f"| the same with start and loading | {with_start:,.0f} | {with_start / best:.0%} |",
        "",
        "| file | peak memory |",
        "|---|---|",
        *(f"| {what} | {peak:.0f} MiB |" for what, peak in peaks.items()),
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test data")
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"ERROR: {options.data} does not exist: use --data to name the folder with sst2/")
    sentences = [text for text, _ in read_table(options.data / "sst2" / "train.tsv", header=True)][:SENTENCES]
    with tempfile.TemporaryDirectory() as folder:
        write_table("score", table(sentences, Path(folder)), PERFORMANCE)


if __name__ == "__main__":
    main()
