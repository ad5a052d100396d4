"""Benchmark of the server under more load than it can answer.

The server has one core, and the load has another. The load posts the sentences of SST-2 dev as forms (read from ../shared/data).
The capacity is the rate of answers to wrk with 32 connections. Then requests arrive at 1 and 3 times this rate, at random times.
A request does not wait for earlier answers. The table has the share of 503, the milliseconds from the due time of a request to its
answer, and the memory after the load. Any status but 200 and 503 ends the benchmark.
The command writes a table into docs/results/reliability.md.

    dvc repro && python -m benchmarks.overload
"""

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.serving.__main__ import MANY, two_cores
from benchmarks.serving.process import Running
from benchmarks.serving.servers import OURS
from benchmarks.tables import RELIABILITY, write_speeds
from benchmarks.transfer import DATA, read_table

WAITING = 64  # texts in the queue. With the default of 1,024 an answer could take seconds
LOADS = (1, 3)  # times the capacity


async def offer(url: str, bodies: list[str], rate: float, seconds: int) -> dict[int, list[float]]:
    """Post the bodies in turn at random times, on average `rate` per second. Return milliseconds by status."""
    times, found = random.Random(0), defaultdict(list)
    headers = {"Content-Type": OURS.content_type}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session, asyncio.TaskGroup() as requests:

        async def post(body: str, due: float) -> None:
            async with session.post(url, data=body) as answer:
                await answer.read()
                if answer.status == 503 and "Retry-After" not in answer.headers:
                    raise SystemExit("ERROR: a 503 came without Retry-After")
                found[answer.status].append(1000 * (time.perf_counter() - due))

        due = start = time.perf_counter()
        number = 0
        while due < start + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            requests.create_task(post(bodies[number % len(bodies)], due))
            number, due = number + 1, due + times.expovariate(rate)
    return found


def row(load: int, found: dict[int, list[float]], seconds: int, memory_mb: float) -> str:
    """Return the row of one load. End the program if a request got a status other than 200 and 503."""
    if not set(found) <= {200, 503}:
        raise SystemExit(f"ERROR: statuses under overload: {sorted(found)}")
    answered, requests = found[200], sum(map(len, found.values()))
    p50, p99 = np.percentile(answered, [50, 99])
    refused = f"{np.percentile(found[503], 99):.0f} ms" if found[503] else "-"
    share, rates = len(found[503]) / requests, [f"{number / seconds:,.0f}" for number in (requests, len(answered))]
    return f"| {load} x | {' | '.join(rates)} | {share:.1%} | {p50:.0f} ms | {p99:.0f} ms | {refused} | {memory_mb:,.0f} MB |"


def table(texts: list[str], seconds: int) -> str:
    """Measure the capacity and each load, and return the table."""
    server_core, load_core = two_cores()
    os.environ["SENTIMENT_MAX_WAITING"] = str(WAITING)
    bodies = [OURS.body(text) for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        lines_file = Path(folder) / "bodies"
        lines_file.write_text("\n".join(bodies), "utf-8")
        with Running(OURS, server_core, Path(folder), texts[0]) as server:
            server.load(load_core, lines_file, MANY, max(1, seconds // 2))
            capacity = server.load(load_core, lines_file, MANY, seconds).rate
            os.sched_setaffinity(0, {load_core})
            url = f"http://127.0.0.1:{server.port}{OURS.path}"
            rows = [row(load, asyncio.run(offer(url, bodies, load * capacity, seconds)), seconds, server.memory_mb()) for load in LOADS]
    return "\n".join(
        [
            f"Capacity: {capacity:,.0f} texts/s with {MANY} connections. At most {WAITING} texts wait (`SENTIMENT_MAX_WAITING`).",
            "",
            "| load | requests/s | answers/s | 503 | p50 of answers | p99 of answers | p99 of 503 | memory after |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test data")
    parser.add_argument("--seconds", type=int, default=20, help="length of a measurement")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("ERROR: wrk is not installed, which makes the load: run sudo apt-get install wrk")
    if not options.data.is_dir():
        raise SystemExit(f"ERROR: {options.data} does not exist: use --data to name the folder with sst2/")
    texts = [text for text, _ in read_table(options.data / "sst2" / "dev.tsv", header=True)]
    write_speeds("overload", table(texts, options.seconds), RELIABILITY)


if __name__ == "__main__":
    main()
