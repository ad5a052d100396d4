"""Helpers of the tests of file scoring: texts with known errors, files of many rows, and the command with small blocks."""

import csv
import gzip
import io
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
from pyarrow import parquet

from tests.building import VOCABULARY
from tests.running import ROOT

TEXTS = ["the film was very good", "", "the food was awful, really", 'a "quoted" one\nof two lines', "영화 최고", "a\0b", "good " * 60]
ERRORS = {1: "text is empty: send some words", 5: "text contains a NUL character: remove it"}  # by row of TEXTS
# The command with small blocks, and with progress saved after each: so a kill can hit a small file at many points.
SMALL_BLOCKS = (
    "import sys; from serving import score; from serving.tables import blocks, output; "
    "blocks.BLOCK_ROWS, output.PROGRESS_EVERY = 64, 0; score.main()"
)


def write_many(file: Path, rows: int = 1500) -> None:
    """Write rows of different lengths. Some of them have no text."""
    rng = random.Random(5)
    lines = [{"id": row, "text": " ".join(rng.choices(VOCABULARY.split(), k=rng.randrange(12)))} for row in range(rows)]
    if file.name.endswith(".parquet"):
        parquet.write_table(pa.Table.from_pylist(lines), file, row_group_size=500)
    elif file.name.endswith(".ndjson"):
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    else:
        data = "".join(f"{line['id']},{line['text']}\n" for line in [{"id": "id", "text": "text"}, *lines]).encode()
        file.write_bytes(gzip.compress(data) if file.name.endswith(".gz") else data)


def written_sheet(file: Path, rows: list[list[Any]]) -> None:
    """Write an XLSX file of one sheet."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(file)


def ids(file: Path) -> list[int]:
    """Return the ids of all rows of a scored file."""
    if file.name.endswith(".parquet"):
        return parquet.read_table(file)["id"].to_pylist()
    data = gzip.decompress(file.read_bytes()) if file.name.endswith(".gz") else file.read_bytes()
    if file.name.endswith(".ndjson"):
        return [json.loads(line)["id"] for line in data.decode().splitlines()]
    return [int(row["id"]) for row in csv.DictReader(io.StringIO(data.decode()))]


def start(bundle: Path, *flags: str | Path, code: str = SMALL_BLOCKS, **pipes: Any) -> "subprocess.Popen[bytes]":
    """Start the command with small blocks."""
    command = [sys.executable, "-c", code, "--model", bundle, "--threads", "1", *flags]
    return subprocess.Popen([str(part) for part in command], cwd=ROOT, stderr=subprocess.PIPE, **pipes)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait until the condition holds or the process ends."""
    while process.poll() is None and not condition():
        time.sleep(0.0005)


def size(file: Path) -> int:
    """Return the bytes of a file, 0 if it does not exist."""
    return file.stat().st_size if file.exists() else 0
