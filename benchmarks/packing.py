"""Benchmark of shared rows: how much faster an engine is if several short texts share a row of a batch.

The first engine of the bundle answers sentences of SST-2 dev (read from ../shared/data) on one core. It keeps their order, and gets
calls of several sizes. The table has texts per second with shared rows and with one row for each text. Both run in turns, and the best
of 3 counts. The command writes a table into docs/results/performance.md.

    dvc repro && python -m benchmarks.packing
"""

import os
import time
from pathlib import Path

import numpy as np

from benchmarks.tables import write_speeds
from benchmarks.transfer import DATA, read_table
from serving.inference.classifier import Classifier
from serving.inference.engines import OpenVinoEngine
from serving.inference.packing import Packer
from serving.inference.tokens import BundleTokenizer

CALLS = (1, 2, 4, 8, 16, 32, 64, 256)  # texts per call
TURNS = 3


def main() -> None:
    """Measure both ways and write the table."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    texts = [text for text, _ in read_table(DATA / "sst2" / "dev.tsv", header=True)]
    shared = Classifier.load("models/serving", threads=1)
    bundle, spec = shared.bundle, shared.spec
    if spec.runtime != "openvino":
        raise SystemExit(
            f"ERROR: {spec.name} has one row for each text, so there is nothing to compare: put an openvino engine first in the bundle"
        )
    separate = Classifier(bundle, spec, RowForEachText(bundle.folder / spec.files[0], spec.precision, 1, None))
    lengths = [len(ids) for ids in BundleTokenizer(bundle).tokenize(texts).token_ids]
    lines = [
        "| texts a call | shared rows: texts/s | a row each: texts/s | ratio | padding, shared | padding, a row each |",
        "|---|---|---|---|---|---|",
    ]
    for size in CALLS:
        calls = [texts[start : start + size] for start in range(0, len(texts) - size + 1, size)]
        speeds = [max(found) for found in zip(*((speed(shared, calls), speed(separate, calls)) for _ in range(TURNS)), strict=True)]
        padded = [padding(lengths[: len(calls) * size], size, bundle.max_length, shared_rows=shared_rows) for shared_rows in (True, False)]
        lines.append(
            f"| {size} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {speeds[0] / speeds[1]:.2f} x | {padded[0]:.0%} | {padded[1]:.0%} |"
        )
    write_speeds("packing", "\n".join([*lines, f"\nEngine: {spec.name}, one core."]))


class RowForEachText(OpenVinoEngine):
    """The same engine with one text in each row."""

    def __init__(self, file: Path, precision: str, threads: int, cache: Path | None) -> None:
        super().__init__(file, precision, threads, cache)
        self.shares_rows = False


def speed(classifier: Classifier, calls: list[list[str]]) -> float:
    """Return texts per second."""
    classifier.predict(calls[0])
    start = time.perf_counter()
    for texts in calls:
        classifier.predict(texts)
    return sum(map(len, calls)) / (time.perf_counter() - start)


def padding(lengths: list[int], size: int, max_length: int, *, shared_rows: bool) -> float:
    """Return the number of padding tokens per token of a text."""
    packer = Packer(max_length, 0, shared_rows=shared_rows)
    calls = [[np.ones(length, dtype=np.int64) for length in lengths[start : start + size]] for start in range(0, len(lengths), size)]
    return sum(batch.input_ids.size for call in calls for _, _, batch in packer.pack(call)) / sum(lengths) - 1


if __name__ == "__main__":
    main()
