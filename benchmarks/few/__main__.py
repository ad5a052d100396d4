"""Benchmark of few texts: the graph, with `auto` params, compared with SetFit on the same texts and base model.

The samples are complete sentences of SST-2 train (read from ../shared/data), and each seed has another sample. Both models are scored
on 1,800 other sentences of it. The graph keeps a tenth of its texts for validation. SetFit trains on all texts and answers in fp32. If
the graph uses contrastive training, which chooses no epoch, another row shows it with nearly all texts and in fp32.
The command writes a table into docs/results/quality.md.

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
from benchmarks.transfer import DATA, Labelled, complete_sentences, read_table
from commands.dvc import fresh_copy
from stages.shared.training.recipe import default_recipe

SEEDS = (7, 8, 9)
PEER = Path(".venv-setfit")
ITERATIONS = {100: 20, 400: 5, 1_500: 2}  # of SetFit. Each makes two pairs per text: 4,000 to 6,000 in all, not 60,000 of 1,500 texts
SCORED = 1_800  # sentences
LIKE_PEER = [
    "preprocess.validation_size=0.02",
    "export.engines=[openvino-fp32,onnxruntime-fp32]",
]  # two texts of 100 are the validation split


def write(rows: Labelled, file: Path) -> Path:
    """Write texts and labels as CSV."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    return file


def ours(project: Path, file: Path, test: Path, seed: int, params: list[str]) -> tuple[float, float]:
    """Return the accuracy of the bundle, and the seconds of the graph."""
    line = [f"preprocess.source={file}", f"preprocess.test_source={test}", f"train.seed={seed}", *params]
    found = run(project, line)
    return found["accuracy"], found["seconds"]


def theirs(file: Path, test: Path, iterations: int, seed: int) -> tuple[float, float]:
    """Return the accuracy of SetFit, and the seconds of its training."""
    command = [str(PEER / "bin/python"), "benchmarks/few/setfit_peer.py", "models/base", str(file), str(test), str(iterations), str(seed)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["accuracy"], found["seconds"]


def row(count: int, name: str, runs: list[tuple[float, float]]) -> str:
    """Return a line of the table: the mean, and the accuracy on each sample."""
    accuracies, seconds = zip(*runs, strict=True)
    each = ", ".join(f"{100 * accuracy:.1f}" for accuracy in accuracies)
    return f"| {count:,} | {name} | {mean(accuracies):.1%} | {each} | {mean(seconds):.0f} s |"


def main() -> None:
    """Train and score all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument(
        "--texts",
        type=int,
        nargs="+",
        choices=ITERATIONS,
        default=ITERATIONS,
        help="print the rows of these numbers of texts, and write nothing",
    )
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"ERROR: {DATA} does not exist: docs/results/quality.md lists the files that it needs")
    install(PEER, Path("benchmarks/few/requirements.txt"))
    sentences = complete_sentences(read_table(DATA / "sst2/train.tsv", header=True))
    random.Random(5).shuffle(sentences)
    lines = ["| texts | | held-out accuracy, mean | each sample | time |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as place:
        project, test = fresh_copy(Path(place)), write(sentences[:SCORED], Path(place, "test.csv"))
        for count in options.texts:
            samples = {seed: random.Random(seed).sample(sentences[SCORED:], count) for seed in options.seeds}
            files = {seed: write(rows, Path(place, f"{count}_{seed}.csv")) for seed, rows in samples.items()}
            ways: list[tuple[str, list[str]]] = [("`dvc repro`", [])]
            if default_recipe(count, classes=2).pairs:
                ways.append((f"`{shlex.join(['dvc', 'exp', 'run', *changed(LIKE_PEER)])}`", LIKE_PEER))
            for name, params in ways:
                lines.append(row(count, name, [ours(project, file, test, seed, params) for seed, file in files.items()]))
                print(lines[-1], time.strftime("%H:%M"), file=sys.stderr)
            peer = f"SetFit 1.2.0, {ITERATIONS[count]} iterations"
            lines.append(row(count, peer, [theirs(file, test, ITERATIONS[count], seed) for seed, file in files.items()]))
            print(lines[-1], time.strftime("%H:%M"), file=sys.stderr)
    if set(options.texts) < set(ITERATIONS):
        print("\n".join(lines))
    else:
        write_table("few texts", "\n".join(lines), QUALITY)


if __name__ == "__main__":
    main()
