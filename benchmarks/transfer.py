"""Benchmark of the sample data: a model trained on data/raw/reviews.csv alone, scored on texts of other sources.

It scores the fp32 engine of models/serving and the linear baseline. The test sets are the second half of each UCI file and SST-2 dev
(read from ../shared/data, never copied). The first halves and the sentences of SST-2 train are for error analysis. They are never in the
table. The command writes a table into docs/results/quality.md.

    dvc repro && python -m benchmarks.transfer
"""

import argparse
import csv
import hashlib
import json
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from scipy.stats import binomtest

from benchmarks.tables import QUALITY, write_table
from serving.inference.bundle import PORTABLE
from serving.inference.classifier import Classifier
from stages.shared.baseline import linear_baseline
from stages.shared.splits import read_split

DATA = Path("../shared/data")
TARGETS = {"UCI amazon (products)": 0.85, "UCI imdb (films)": 0.85, "UCI yelp (restaurants)": 0.85, "SST-2 dev (film critics)": 0.80}

Labelled = list[tuple[str, int]]


def read_table(file: Path, *, header: bool) -> Labelled:
    """Read `text<TAB>label` lines in which quotes are plain characters."""
    with file.open(encoding="utf-8", newline="\n") as stream:
        rows = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(text, int(label)) for text, label in rows[int(header) :]]


def test_sets(data: Path, half: int) -> Iterator[tuple[str, Labelled]]:
    """Yield the sets in the order of TARGETS. half: 1 for error analysis, 2 for the table."""
    for name, file in zip(TARGETS, ("amazon_cells", "imdb", "yelp"), strict=False):
        rows = read_table(data / "uci" / f"{file}_labelled.txt", header=False)
        middle = len(rows) // 2
        yield name, rows[:middle] if half == 1 else rows[middle:]
    if half == 1:
        yield "SST-2 train, complete sentences", complete_sentences(read_table(data / "sst2" / "train.tsv", header=True))[::3]
    else:
        yield "SST-2 dev (film critics)", read_table(data / "sst2" / "dev.tsv", header=True)


def complete_sentences(phrases: Labelled) -> Labelled:
    """Keep the complete sentences. SST-2 train also lists their parts, while dev has sentences only."""
    texts = {text.strip() for text, _ in phrases}
    forwards, backwards = sorted(texts), sorted(texts, key=lambda text: text[::-1])
    parts = {text for text, longer in pairwise(forwards) if longer.startswith(text)}
    parts |= {text for text, longer in pairwise(backwards) if longer.endswith(text)}
    return [(text, label) for text, label in phrases if text.strip().endswith((".", "!", "?")) and text.strip() not in parts]


def main() -> None:
    """Score the model on the chosen sets and print the table. Without --errors, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test data")
    parser.add_argument(
        "--errors", action="store_true", help="print the errors on the texts that are never in the table, and write nothing"
    )
    options = parser.parse_args()
    refuse_another_model()
    if not options.data.is_dir():
        raise SystemExit(f"ERROR: {options.data} does not exist: use --data to name the folder with sst2/ and uci/")
    classifier = Classifier.load("models/serving", engine=PORTABLE)
    sets = list(test_sets(options.data, half=1 if options.errors else 2))
    linear = iter(linear_baseline(read_split(Path("data/train.csv")), [text for _, rows in sets for text, _ in rows], seed=0))
    lines = []
    for name, rows in sets:
        answers = classifier.predict([text for text, _ in rows])
        right = sum(int(answer == label) for answer, (_, label) in zip(answers.label_ids, rows, strict=True))
        right_linear = sum(int(next(linear) == label) for _, label in rows)
        interval = binomtest(right, len(rows)).proportion_ci(0.95, "wilson")
        target = TARGETS.get(name)
        verdict = "" if target is None else "reached" if right / len(rows) >= target else "missed"
        lines.append(
            f"| {name} | {len(rows):,} | {100 * right / len(rows):.1f} % | {100 * interval.low:.1f} to {100 * interval.high:.1f} | "
            f"{100 * right_linear / len(rows):.1f} % | {'' if target is None else f'{100 * target:.0f} %'} | {verdict} |"
        )
        if options.errors:
            for (text, label), answer, score in zip(rows, answers.label_ids, answers.scores, strict=True):
                if answer != label:
                    print(f"{name}\t{label}\t{score:.3f}\t{text}")
    head = ["| test set | texts | accuracy | 95 % interval | linear baseline | target | |", "|---|---|---|---|---|---|---|"]
    train = json.loads(Path("metrics/train.json").read_text("utf-8"))
    rows_trained = json.loads(Path("metrics/preprocess.json").read_text("utf-8"))["rows"]["train"]
    machine = "{device} with {threads} threads in {precision}".format(**train["machine"])
    note = f"\nTrained on {rows_trained:,} texts, epoch {train['best_epoch']}, {machine}."
    table = "\n".join([*head, *lines, note])
    if options.errors:
        print(table)
    else:
        write_table("transfer", table, QUALITY)


def refuse_another_model() -> None:
    """Stop unless the bundle comes from the sample data and the committed params."""
    source = json.loads(Path("data/report.json").read_text("utf-8"))["source"]["sha256"]
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "params.yaml"], check=False).returncode
    if source != hashlib.sha256(Path("data/raw/reviews.csv").read_bytes()).hexdigest() or changed:
        raise SystemExit(
            "ERROR: models/serving does not come from data/raw/reviews.csv and the committed params: git restore params.yaml && dvc repro"
        )


if __name__ == "__main__":
    main()
