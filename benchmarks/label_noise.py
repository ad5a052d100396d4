"""Benchmark of the label_noise stage: how many wrong labels it finds, and how fast.

It changes the label of one text in twenty at random. The texts are the sample's train and validation splits, and 6,000 sentences of
SST-2 train (read from ../shared/data). Then the stage's function lists the labels that look wrong. It uses no test text. A label that
was wrong before counts as a false alarm, so precision is a lower bound. The command writes a table into docs/results/quality.md.

    dvc repro && python -m benchmarks.label_noise
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.tables import QUALITY, write_table
from benchmarks.transfer import DATA, read_table
from stages.label_noise import LabelNoiseParams, find_issues
from stages.shared.splits import read_split

SHARE = 0.05  # of the labels that it changes
SENTENCES = 6_000
SETTINGS = LabelNoiseParams(folds=5, max_length=128, seed=7)


def main() -> None:
    """Change labels, list those that look wrong, and write the table."""
    sentences = pd.DataFrame(read_table(DATA / "sst2" / "train.tsv", header=True), columns=["text", "label"])
    sources = {
        "sample, train and validation": pd.concat([read_split(Path(f"data/{name}.csv")) for name in ("train", "validation")]),
        "SST-2 train, 6,000 of it": sentences.sample(SENTENCES, random_state=7).astype({"label": int}),
    }
    lines = [
        "| texts | labels changed | listed | changed ones found | by chance | precision at the number changed | time |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rows in sources.items():
        frame = rows.reset_index(drop=True)
        changed = np.random.default_rng(7).choice(len(frame), round(SHARE * len(frame)), replace=False)
        frame.loc[changed, "label"] = 1 - frame.loc[changed, "label"]
        start = time.perf_counter()
        listed = find_issues(frame, SETTINGS, Path("models/base")).index
        seconds = time.perf_counter() - start
        found = np.isin(listed, changed)
        lines.append(
            f"| {name}: {len(frame):,} | {len(changed)} | {len(listed)} | {found.sum() / len(changed):.0%} "
            f"| {len(listed) / len(frame):.0%} | {found[: len(changed)].mean():.0%} | {seconds:.0f} s |"
        )
    write_table("label_noise", "\n".join(lines), QUALITY)


if __name__ == "__main__":
    main()
