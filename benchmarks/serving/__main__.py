"""Benchmark of the server, compared with the plain recipe and three frameworks, each with torch and with our engine.

The server has one core, and wrk has another. wrk posts the 872 sentences of SST-2 dev in turn (read from ../shared/data). The table has
requests per second, p50 and p99 at 1 and 32 connections, and errors. It also has the memory of all processes of the server under load,
and the time to the first answer (the better of 2 starts). First, every server must give the classifier's answers to 32 texts that
arrive at once. No server caches answers. The peers have a separate environment, which the command creates if it is missing.
The command needs wrk, and writes a table into docs/results/performance.md.

    dvc repro && python -m benchmarks.serving
"""

import argparse
import http.client
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.environment import install
from benchmarks.serving.peers.engine import BUNDLE, MODEL
from benchmarks.serving.process import PEERS, Load, Running, prepare
from benchmarks.serving.servers import EMPTY, OURS, PLAIN, SERVERS, Server
from benchmarks.tables import write_speeds
from benchmarks.transfer import DATA, read_table
from serving.inference.classifier import Classifier
from serving.inference.labels import label_name
from serving.inference.text import clean_text
from serving.inference.tokens import BundleTokenizer

FEW, MANY = 1, 32  # connections
PASSES, STARTS = 3, 2
SETTLE_SECONDS = 1  # meanwhile a server answers the last requests of the warm-up
SURE = 0.95  # texts with at least this score have the same label in INT8 and fp32


class Measured(NamedTuple):
    """The figures of one server."""

    start_seconds: float
    memory_mb: float
    few: Load
    many: Load


class Rates(NamedTuple):
    """Texts per second on one core, in calls of MANY texts in the given order: of the engine alone and of tokenizing alone."""

    engine: str
    classifier: float
    tokenizer: float


def main() -> None:
    """Measure all servers and write the table. With --only, print the figures of one server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test data")
    parser.add_argument("--seconds", type=int, default=10, help="length of a measurement. The warm-up takes half of it in addition")
    parser.add_argument(
        "--only", choices=sorted({server.name for server in SERVERS}), help="measure one server, print its figures, and write nothing"
    )
    options = parser.parse_args()
    server_core, load_core = two_cores()
    if not shutil.which("wrk"):
        raise SystemExit("ERROR: wrk is not installed, which makes the load: run sudo apt-get install wrk")
    if not options.data.is_dir():
        raise SystemExit(f"ERROR: {options.data} does not exist: use --data to name the folder with sst2/")
    if not (Path(MODEL).is_dir() and Path(BUNDLE).is_dir()):
        raise SystemExit(f"ERROR: {MODEL} or {BUNDLE} does not exist: run dvc repro")
    install(PEERS, Path("benchmarks/requirements.txt"))
    texts = [text for text, _ in read_table(options.data / "sst2" / "dev.tsv", header=True)]
    os.sched_setaffinity(0, {server_core})
    classifier = Classifier.load(BUNDLE, threads=1)
    rates, expected = speed(classifier, texts), sure_answers(classifier, texts)
    os.sched_setaffinity(0, {load_core})
    found = {}
    for server in SERVERS:
        if options.only in (None, server.name):
            found[server] = measure(server, texts, expected, options.seconds, (server_core, load_core))
            print(f"{server.name} ({server.engine}): {found[server]}", file=sys.stderr)
    if not options.only:
        write_speeds("serving", table(found, rates))


def two_cores() -> tuple[int, int]:
    """Return the core of the server and that of the load."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        raise SystemExit("ERROR: two cores and Linux are needed: one core for the server, one for the load")
    return cores[0], cores[1]


def speed(classifier: Classifier, texts: list[str]) -> Rates:
    """Measure the classifier on the core of this process, best of PASSES. The rate of the engine excludes the time of tokenizing."""
    tokenizer = BundleTokenizer(classifier.bundle)
    total = best_seconds(texts, classifier.predict)
    tokenizing = best_seconds(texts, lambda part: tokenizer.tokenize([clean_text(text) for text in part]))
    return Rates(classifier.spec.name, len(texts) / (total - tokenizing), len(texts) / tokenizing)


def best_seconds(texts: list[str], work: Callable[[list[str]], object]) -> float:
    """Return the seconds of the fastest pass over the texts, in calls of MANY texts."""
    passes = []
    for _ in range(PASSES):
        start = time.perf_counter()
        for first in range(0, len(texts), MANY):
            work(texts[first : first + MANY])
        passes.append(time.perf_counter() - start)
    return min(passes)


def sure_answers(classifier: Classifier, texts: list[str]) -> dict[str, set[str]]:
    """Return MANY texts with a score of at least SURE, each with the names that its label may have."""
    answers, names = classifier.predict(texts), classifier.bundle.class_names
    pairs = zip(texts, answers.label_ids.tolist(), answers.scores.tolist(), strict=True)
    sure = [(text, {label_name(label_id), names[label_id]}) for text, label_id, score in pairs if score >= SURE]
    return dict(sure[:MANY])


def measure(server: Server, texts: list[str], expected: dict[str, set[str]], seconds: int, cores: tuple[int, int]) -> Measured:
    """Start a server, check its answers, put load on it, and stop it."""
    server_core, load_core = cores
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        prepare(server, scratch)
        bodies = scratch / "bodies"
        bodies.write_text("".join(f"{server.body(text)}\n" for text in texts), "utf-8")
        starts = []
        for _ in range(STARTS - 1):
            with Running(server, server_core, scratch, texts[0]) as running:
                starts.append(running.start_seconds)
        with Running(server, server_core, scratch, texts[0]) as running:
            starts.append(running.start_seconds)
            if server is not EMPTY:
                check_answers(running, expected)
            loads = []
            for connections in (MANY, FEW):
                running.load(load_core, bodies, connections, -(-seconds // 2))
                time.sleep(SETTLE_SECONDS)
                loads.append(running.load(load_core, bodies, connections, seconds))
            many, few = loads
            return Measured(min(starts), running.memory_mb(), few, many)


def check_answers(running: Running, expected: dict[str, set[str]]) -> None:
    """End the program unless a server gives the right answers to texts that arrive at once."""
    with ThreadPoolExecutor(len(expected)) as threads:
        try:
            answers = list(threads.map(running.post, expected))
        except http.client.HTTPException as error:
            raise SystemExit(f"ERROR: {running.server.name} ({running.server.engine}) answers {error}") from None
    for (text, names), answer in zip(expected.items(), answers, strict=True):
        if answer["label"] not in names:
            raise SystemExit(f"ERROR: {running.server.name} ({running.server.engine}) answers {answer} to {text!r}, not {sorted(names)}")


def table(found: dict[Server, Measured], rates: Rates) -> str:
    """Return the table, with the ratios first."""
    counts = [f"{number} connection{'s' if number > 1 else ''}" for number in (FEW, MANY)]
    columns = [f"against plain, {count}" for count in counts]
    columns += [f"{count}: {what}" for count in counts for what in ("requests/s", "p50", "p99")]
    lines = [f"| server | engine | {' | '.join(columns)} | errors | memory | start |", "|---" * 13 + "|"]
    lines += [f"| {server.name} | {' | '.join(cells(server, found, rates))} |" for server in found]
    ours, empty = found[OURS].many.rate, found[EMPTY].many.rate
    bound = 1 / (1 / rates.classifier + 1 / rates.tokenizer + 1 / empty)
    note = (
        f"\nOn one core the classifier's engine alone answers {rates.classifier:,.0f} texts/s, "
        f"in calls of {MANY} texts in the given order. "
        f"Its tokenizer alone handles {rates.tokenizer:,.0f} texts/s. "
        f"An empty endpoint under the same middleware answers {empty:,.0f} requests/s at {MANY} connections. "
        f"The estimated limit is 1 / (1/classifier + 1/tokenizer + 1/empty endpoint) = {bound:,.0f} requests/s. "
        f"Ours reaches {ours / bound:.0%} of it."
    )
    return "\n".join([*lines, note])


def cells(server: Server, found: dict[Server, Measured], rates: Rates) -> Iterator[str]:
    """Yield the cells of a server in the order of the columns."""
    measured, plain = found[server], found[PLAIN]
    yield {"torch": "torch-fp32", "ours": rates.engine}.get(server.engine, "none")
    for load, against in ((measured.few, plain.few), (measured.many, plain.many)):
        yield f"{load.rate / against.rate:.1f} x"
    for load in (measured.few, measured.many):
        yield f"{load.rate:,.0f}"
        yield f"{load.p50_ms:.1f} ms"
        yield f"{load.p99_ms:.1f} ms"
    yield f"{measured.few.errors + measured.many.errors}"
    yield f"{measured.memory_mb:,.0f} MB"
    yield f"{measured.start_seconds:.1f} s"


if __name__ == "__main__":
    main()
