"""Benchmark of a test split whose texts stand inside train texts: how much easier it is than new texts.

The source is SST-2 train, sentences and their phrases, from ../shared/data. The linear baseline is fitted on the train split and scored
on the test split and on SST-2 dev, with each value of preprocess.containment. The command writes a table into docs/results/quality.md.

    dvc repro base_model && python -m benchmarks.containment
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.preprocess import run_stage
from benchmarks.tables import QUALITY, write_table
from benchmarks.transfer import DATA, read_table
from stages.shared.baseline import fit
from stages.shared.evaluation.intervals import wilson
from stages.shared.splits import read_split

SEED = 7


def main() -> None:
    """Measure and write the table."""
    texts, labels = zip(*read_table(DATA / "sst2/dev.tsv", header=True), strict=True)
    lines = [
        "| `preprocess.containment` | test texts inside or around a train text | accuracy on the test split | accuracy on SST-2 dev |",
        "|---|---|---|---|",
    ]
    for containment in ("report", "group"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run_stage(folder, DATA / "sst2/train.tsv", containment=containment)
            train, test = (read_split(folder / f"{split}.csv") for split in ("train", "test"))
            share = json.loads((folder / "metrics.json").read_text("utf-8"))["contained"]["test"]
        model = fit(train, SEED)
        scored = scores(model.predict(test["text"]) == test["label"]), scores(model.predict(texts) == labels)
        lines.append(f"| `{containment}` | {100 * share:.1f} % | {' | '.join(scored)} |")
    write_table("containment", "\n".join(lines), QUALITY)


def scores(right: NDArray[np.bool_]) -> str:
    """Return the accuracy with its 95 % interval, in words."""
    low, high = wilson(int(right.sum()), len(right))
    return f"{100 * right.mean():.1f} % ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
