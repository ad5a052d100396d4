"""What a few texts are worth: the graph, with the params that are auto, beside SetFit on the same texts and base.

Samples of whole sentences of SST-2 train, others for each seed; scored on 1,800 more of it (read from ../shared/data). Of its texts
the graph keeps a tenth to validate with; SetFit learns from all and answers in fp32, as the graph does in a row of its own where pairs
are learnt from, which choose no epoch. Writes a table into docs/results/quality.md.

    dvc repro base_model && python -m benchmarks.few
"""

import argparse
import csv
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from benchmarks.environment import install
from benchmarks.quality import changed, run
from benchmarks.tables import QUALITY, write_table
from benchmarks.transfer import DATA, Labelled, read_table, whole_sentences
from commands.dvc import fresh_copy
from stages.shared.training.recipe import usual

SEEDS = (7, 8, 9)
PEER = Path(".venv-setfit")
ITERATIONS = {100: 20, 400: 5, 1_500: 2}  # of SetFit, two pairs a text each: 4,000 to 6,000 pairs; 20 would make 60,000 of 1,500 texts
SCORED = 1_800  # sentences
AS_THEIRS = ["preprocess.validation_size=0.02", "export.engines=[openvino-fp32,onnxruntime-fp32]"]  # two texts of 100 validate


def write(rows: Labelled, file: Path) -> Path:
    """Write texts and labels as CSV."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    return file


def ours(project: Path, file: Path, test: Path, seed: int, params: list[str]) -> tuple[float, float]:
    """Return the accuracy of the served model, and the seconds of the whole graph."""
    line = [f"preprocess.source={file}", f"preprocess.test_source={test}", f"train.seed={seed}", *params]
    found = run(project, line)
    return found["accuracy"], found["seconds"]


def theirs(file: Path, test: Path, iterations: int, seed: int) -> tuple[float, float]:
    """Return the accuracy of SetFit, and the seconds that it trains."""
    command = [str(PEER / "bin/python"), "benchmarks/few/setfit_peer.py", "models/base", str(file), str(test), str(iterations), str(seed)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["accuracy"], found["seconds"]


def row(count: int, name: str, runs: list[tuple[float, float]]) -> str:
    """Return a line of the table: the mean, and each sample."""
    accuracies, seconds = zip(*runs, strict=True)
    each = ", ".join(f"{100 * accuracy:.1f}" for accuracy in accuracies)
    return f"| {count:,} | {name} | {mean(accuracies):.1%} | {each} | {mean(seconds):.0f} s |"


def main() -> None:
    """Train and score all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--texts", type=int, nargs="+", choices=ITERATIONS, default=ITERATIONS, help="print the rows of these alone")
    asked = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"ERROR: {DATA} does not exist: docs/results/quality.md lists the files that it needs")
    install(PEER, Path("benchmarks/few/requirements.txt"))
    sentences = whole_sentences(read_table(DATA / "sst2/train.tsv", header=True))
    random.Random(5).shuffle(sentences)
    lines = ["| texts | | held-out accuracy, mean | each sample | time |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as place:
        project, test = fresh_copy(Path(place)), write(sentences[:SCORED], Path(place, "test.csv"))
        for count in asked.texts:
            samples = {seed: random.Random(seed).sample(sentences[SCORED:], count) for seed in asked.seeds}
            files = {seed: write(rows, Path(place, f"{count}_{seed}.csv")) for seed, rows in samples.items()}
            ways: list[tuple[str, list[str]]] = [("`dvc repro`", [])]
            if usual(count, classes=2).pairs:
                ways.append((f"`{shlex.join(['dvc', 'exp', 'run', *changed(AS_THEIRS)])}`", AS_THEIRS))
            for name, params in ways:
                lines.append(row(count, name, [ours(project, file, test, seed, params) for seed, file in files.items()]))
                print(lines[-1], time.strftime("%H:%M"), file=sys.stderr)
            peer = f"SetFit 1.2.0, {ITERATIONS[count]} iterations"
            lines.append(row(count, peer, [theirs(file, test, ITERATIONS[count], seed) for seed, file in files.items()]))
            print(lines[-1], time.strftime("%H:%M"), file=sys.stderr)
    if set(asked.texts) < set(ITERATIONS):
        print("\n".join(lines))
    else:
        write_table("few texts", "\n".join(lines), QUALITY)


if __name__ == "__main__":
    main()
