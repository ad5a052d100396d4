"""Benchmark of the preprocess stage, compared with pandas, which reads, drops duplicates and splits without checks.

Three sources have 10^4 to 10^6 rows of made-up words: 1 row in 50 repeats another, and 1 in 500 has the other label. One source has
10^4 long rows. Two sources are phrases: a made-up sentence and parts of it, so most texts stand inside another. One is NSMC with
200,000 rows, read from ../shared/data as a folder of two shards. Each run is a separate process. The tables have the time and the peak
memory with and without the searches for near duplicates and contained texts, and the steps of the largest runs.
The command writes tables into docs/results/performance.md.

    dvc repro base_model && python -m benchmarks.preprocess
"""

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ruamel.yaml import YAML

from benchmarks.tables import PERFORMANCE, write_table
from benchmarks.transfer import DATA

SIZES = (10_000, 100_000, 1_000_000)
LONG = 10_000  # long texts, each made of PARTS texts
PARTS = 50
PHRASES = (200_000, 1_900_000)  # below preprocess.near_duplicates_limit
UNSEARCHED = {"near_duplicates_limit": 0}
STEMS = [
    "ka",
    "lo",
    "mi",
    "ne",
    "ru",
    "ta",
    "vo",
    "shi",
    "pre",
    "gan",
    "dor",
    "bel",
    "fis",
    "tum",
    "hax",
    "quo",
    "wen",
    "jil",
    "zor",
    "cru",
]
PANDAS = """
import sys, pandas as pd
from sklearn.model_selection import train_test_split
rows = pd.concat([pd.read_csv(file, sep=sys.argv[2]) for file in sys.argv[3:]]).drop_duplicates()
text, label = rows.columns[-2:]
train, rest = train_test_split(rows, test_size=0.2, stratify=rows[label], random_state=7)
validation, test = train_test_split(rest, test_size=0.5, stratify=rest[label], random_state=7)
for name, part in (("train", train), ("validation", validation), ("test", test)):
    part.to_csv(f"{sys.argv[1]}/{name}.csv", index=False)
"""


class Run(NamedTuple):
    """The figures of one process. steps: seconds of each step, from its log."""

    seconds: float
    peak_mb: float
    steps: dict[str, float]


def made_up(count: int) -> Iterator[tuple[str, str]]:
    """Yield rows of 3 to 25 made-up words."""
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(STEMS, rng.integers(1, 4))) for _ in range(20_000)]
    text = ""
    for _ in range(count):
        if not text or rng.random() > 1 / 50:
            text = " ".join(words[place] for place in (rng.pareto(0.7, rng.integers(3, 26)) * 20).astype(int) % len(words))
        # The text decides the label, so most repeated texts agree.
        label = len(text) % 2 if rng.random() > 1 / 500 else 1 - len(text) % 2
        yield text, ("negative", "positive")[label]


def phrases(count: int) -> Iterator[tuple[str, str]]:
    """Yield sentences of made-up words, each with nine parts of it."""
    rng = np.random.default_rng(2)
    for text, label in made_up(count // 10):
        words = text.split()
        yield text, label
        for begin, end in np.sort(rng.integers(len(words) + 1, size=(9, 2)), axis=1).tolist():
            yield " ".join(words[begin:end]), label


def run(command: list[str | Path], **environment: str) -> Run:
    """Run a process and measure it."""
    start = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment) as process:
        assert process.stderr
        log = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(log)
    steps = {step: float(took) for step, took in re.findall(r"DEBUG preprocess: (.+) took ([\d.]+) s", log)}
    return Run(seconds, usage.ru_maxrss / 1000, steps)


def run_stage(folder: Path, source: Path, **changes: object) -> Run:
    """Run the stage on a source, with changes of its params; the splits stand in the folder."""
    params = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    params["preprocess"].update(changes)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    outputs: list[str | Path] = [part for name in ("train", "validation", "test") for part in (f"--{name}", folder / f"{name}.csv")]
    none = Path("data/raw/none.csv")
    flags: list[str | Path] = ["--params", folder / "params.yaml", "--source", source]
    flags += [part for name in ("corrections", "labels-source", "validation-source", "test-source") for part in (f"--{name}", none)]
    flags += ["--tokenizer", "models/base/tokenizer.json", "--dropped", folder / "dropped.csv"]
    flags += ["--classes", folder / "classes.json"]
    flags += ["--report", folder / "report.html", "--metrics", folder / "compared.json", "--details", folder / "metrics.json"]
    return run([sys.executable, "-m", "stages.preprocess", *flags, *outputs], LOG_LEVEL="DEBUG")


def run_pandas(folder: Path, separator: str, *files: Path) -> Run:
    """Run the pandas script, as people write it first."""
    return run([sys.executable, "-c", PANDAS, folder, separator, *files])


def write_source(file: Path, rows: Iterable[tuple[str, object]]) -> Path:
    """Write rows as CSV, and return the file."""
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(chain([("text", "label")], rows))
    return file


def measure(folder: Path) -> dict[str, tuple[Run, Run, Run]]:
    """Return three runs for each source: pandas, the stage without the searches, and with them."""
    texts = (text for text, _ in made_up(LONG * PARTS))
    joined = (" ".join(islice(texts, PARTS)) for _ in range(LONG))
    sources = {f"made up, {size:,}": write_source(folder / f"{size}.csv", made_up(size)) for size in SIZES}
    sources[f"made up, {LONG:,} of 4,400 characters"] = write_source(folder / "long.csv", ((text, n % 2) for n, text in enumerate(joined)))
    sources |= {f"phrases, {size:,}": write_source(folder / f"phrases{size}.csv", phrases(size)) for size in PHRASES}
    shards = folder / "nsmc"
    shards.mkdir()
    files = [Path(shutil.copy(DATA / "nsmc" / f"ratings_{part}.txt", shards)) for part in ("train", "test")]
    found = {
        name: (run_pandas(folder, ",", source), run_stage(folder, source, **UNSEARCHED), run_stage(folder, source))
        for name, source in sources.items()
    }
    nsmc = run_pandas(folder, "\t", *files), run_stage(folder, shards, **UNSEARCHED), run_stage(folder, shards)
    return found | {"NSMC, 200,000": nsmc}


def main() -> None:
    """Measure and write the tables."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    lines = [
        "| rows | pandas alone | checked | ratio | searched too | pandas alone: memory | checked | searched too |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (bare, without, near) in found.items():
        times = f"{bare.seconds:.1f} s | {without.seconds:.1f} s | {without.seconds / bare.seconds:.1f} x | {near.seconds:.1f} s"
        lines.append(f"| {name} | {times} | {bare.peak_mb:,.0f} MB | {without.peak_mb:,.0f} MB | {near.peak_mb:,.0f} MB |")
    rows, parts = (found[name][-1].steps for name in (f"made up, {SIZES[-1]:,}", f"phrases, {PHRASES[-1]:,}"))
    lines += ["", f"| step | made up, {SIZES[-1]:,} | phrases, {PHRASES[-1]:,} |", "|---|---|---|"]
    lines += [f"| {step} | {took:.1f} s | {parts[step]:.1f} s |" for step, took in rows.items()]
    write_table("preprocess", "\n".join(lines), PERFORMANCE)


if __name__ == "__main__":
    main()
