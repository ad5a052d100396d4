"""Benchmark of the graph's accuracy on published data sets and on the Korean dialogues of the sample.

In a fresh copy of the committed project it runs `dvc exp run -S ...` once for each seed, as a user would. Published sets come from
../shared/data. `evaluate` scores the bundle and the linear baseline on the test split of the set. The command writes a table for each
set into docs/results/quality.md, with the `dvc` command. With --held-out it scores on a part of the train split, to choose params. With
--held-out or -S it prints the table and writes nothing.

    python -m benchmarks.quality sst2 goemotions uci nsmc dialogues emotions
    python -m benchmarks.quality sst2 --held-out -S train.token_dropout=0
"""

import argparse
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from scipy.stats import binomtest

from benchmarks.tables import QUALITY, write_table
from benchmarks.transfer import DATA, Labelled, complete_sentences, read_table
from commands.dvc import fresh_copy

SEEDS = (7, 8, 9)
HELD_OUT = {"sst2": 1_800, "nsmc": 10_000, "goemotions": 8_000}  # texts of the train split
DIALOGUES = "data/raw/emotion_dialogues_sample.json"  # of the project itself
OWN_SETS: dict[str, list[str]] = {"dialogues": [], "emotions": ["preprocess.aihub_target=emotion"]}
SHORTEST = 3  # words. A phrase of 3 or more words reveals its held-out sentence


def settings(name: str, held_out: bool) -> list[str]:
    """Return the params of a set. Paths start at the project."""
    if name in OWN_SETS:
        return [f"preprocess.source={DIALOGUES}", "preprocess.test_size=0.3", "train.vocabulary=refit", *OWN_SETS[name]]
    folder = "../shared/held_out" if held_out else "../shared/data"
    files = {
        "sst2": {"source": "sst2/train.tsv", "test_source": "sst2/dev.tsv"},
        "goemotions": {"source": "goemotions/train.tsv", "validation_source": "goemotions/dev.tsv", "test_source": "goemotions/test.tsv"},
        "uci": {"source": "uci"},
        "nsmc": {"source": "nsmc/ratings_train.txt", "test_source": "nsmc/ratings_test.txt"},
    }
    more = {
        "sst2": ["preprocess.validation_size=0.03"],
        "goemotions": ['preprocess.label_separator=","', *ekman()],
        "uci": ["preprocess.test_size=0.2"],
        "nsmc": ["preprocess.validation_size=0.03"],
    }
    return [*(f"preprocess.{param}={folder}/{file}" for param, file in files[name].items()), *more[name]]


def ekman() -> list[str]:
    """Return the classes of Ekman, and for each the numbers of the GoEmotions labels that mean it."""
    names = (DATA / "goemotions/labels.txt").read_text("utf-8").split()
    groups = json.loads((DATA / "goemotions/ekman_mapping.json").read_text("utf-8")) | {"neutral": ["neutral"]}
    values = [[str(names.index(name)) for name in members] for members in groups.values()]
    return [f"preprocess.labels=[{','.join(groups)}]", f"preprocess.label_values={json.dumps(values, separators=(',', ':'))}"]


def hold_out(name: str, folder: Path) -> None:
    """Write a part of the train split as test file, and the rest without phrases of that part as train file."""
    (folder / name).mkdir(parents=True)
    if name == "goemotions":
        shutil.copy(DATA / "goemotions/dev.tsv", folder / name)
        lines = (DATA / "goemotions/train.tsv").read_text("utf-8").splitlines()
        random.Random(5).shuffle(lines)
        for file, part in (("test", lines[: HELD_OUT[name]]), ("train", lines[HELD_OUT[name] :])):
            (folder / name / f"{file}.tsv").write_text("\n".join(part) + "\n", "utf-8")
        return
    if name == "nsmc":
        head, *lines = (DATA / "nsmc/ratings_train.txt").read_text("utf-8").splitlines()
        random.Random(5).shuffle(lines)
        for file, part in (("ratings_test", lines[: HELD_OUT[name]]), ("ratings_train", lines[HELD_OUT[name] :])):
            (folder / name / f"{file}.txt").write_text("\n".join([head, *part]) + "\n", "utf-8")
        return
    phrases = read_table(DATA / "sst2/train.tsv", header=True)
    sentences = complete_sentences(phrases)
    random.Random(5).shuffle(sentences)
    held = sentences[: HELD_OUT[name]]
    revealing = {phrase for text, _ in held for phrase in parts(text)}
    for file, rows in (("dev", held), ("train", [(text, label) for text, label in phrases if text.strip() not in revealing])):
        (folder / name / f"{file}.tsv").write_text(as_table(rows), "utf-8")


def parts(text: str) -> set[str]:
    """Return a sentence and all its phrases that reveal it."""
    words = text.split()
    return {" ".join(words[start:end]) for start in range(len(words)) for end in range(start + SHORTEST, len(words) + 1)} | {text.strip()}


def as_table(rows: Labelled) -> str:
    """Return the rows as SST-2 writes them."""
    return "".join(["sentence\tlabel\n", *(f"{text}\t{label}\n" for text, label in rows)])


def changed(line: list[str]) -> list[str]:
    """Return the flags of `dvc exp run` that set these params."""
    return [part for setting in line for part in ("-S", setting)]


def run(project: Path, line: list[str]) -> dict[str, Any]:
    """Run the graph with the committed params and these changes. Return the metrics of evaluate and the seconds."""
    subprocess.run(
        ["git", "checkout", "--quiet", "--", "params.yaml"], cwd=project, check=True
    )  # an experiment leaves its params in the file
    started = time.monotonic()
    environment = os.environ | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "SENTIMENT_REPORT": "later"}
    command = [sys.executable, "-m", "dvc", "exp", "run", *changed(line), "evaluate"]
    subprocess.run(command, cwd=project, env=environment, check=True, stdout=sys.stderr)
    found = json.loads((project / "metrics/evaluate.json").read_text("utf-8"))
    return found | {"seconds": time.monotonic() - started}


def table(runs: dict[int, dict[str, Any]], line: list[str]) -> str:
    """Return a row for each seed, a row of their mean, and the command.

    The interval of the mean is that of one run on as many texts. The gain over the linear baseline has its own interval, because both
    answer the same texts.
    """
    lines = [
        "| seed | accuracy | 95 % interval | macro F1 | linear baseline | points above it | whole graph |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed, found in runs.items():
        interval = f"{100 * found['accuracy_low']:.1f} to {100 * found['accuracy_high']:.1f}"
        linear = found["baseline"]
        gain, low, high = (100 * linear[name] for name in ("gain", "gain_low", "gain_high"))
        figures = (
            f"{found['accuracy']:.2%} | {interval} | {found['f1']:.2%} | {linear['accuracy']:.2%} | {gain:.2f} ({low:.2f} to {high:.2f})"
        )
        lines.append(f"| {seed} | {figures} | {found['seconds'] / 60:.0f} min |")
    texts = int(next(iter(runs.values()))["texts"])
    accuracy, f1 = (mean(found[name] for found in runs.values()) for name in ("accuracy", "f1"))
    overall = binomtest(round(accuracy * texts), texts).proportion_ci(0.95, "wilson")
    lines.append(f"| mean | **{accuracy:.2%}** | {100 * overall.low:.1f} to {100 * overall.high:.1f} | {f1:.2%} | | | |")
    command = shlex.join(["dvc", "exp", "run", *changed(line)])
    return "\n".join([*lines, "", f"{texts:,} test texts. `{command} -S train.seed={next(iter(runs))}`"])


def main() -> None:
    """Run the chosen sets, and write or print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=["sst2", "goemotions", "uci", "nsmc", *OWN_SETS])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument(
        "--held-out", action="store_true", help="score on a part of the train split (sst2, nsmc, goemotions) and write nothing"
    )
    parser.add_argument("-S", dest="more", action="append", default=[], help="param to set, as in dvc exp run")
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"ERROR: {DATA} does not exist: docs/results/quality.md lists the files that it needs")
    if options.held_out and (others := set(options.sets) - set(HELD_OUT)):
        raise SystemExit(f"ERROR: --held-out works for {' and '.join(HELD_OUT)} only: leave out {', '.join(sorted(others))}")
    for name in options.sets:
        with tempfile.TemporaryDirectory() as place:
            project, shared = fresh_copy(Path(place)), Path(place, "shared")
            if name not in OWN_SETS:
                shutil.copytree(DATA / name, shared / "data" / name)
            if options.held_out:
                hold_out(name, shared / "held_out")
            line = settings(name, options.held_out) + options.more
            runs = {seed: run(project, [*line, f"train.seed={seed}"]) for seed in options.seeds}
            if options.held_out or options.more:
                print(table(runs, line))
            else:
                write_table(f"quality {name}", table(runs, line), QUALITY)


if __name__ == "__main__":
    main()
