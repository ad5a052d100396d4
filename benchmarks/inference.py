"""Benchmark of every engine on one core and on two, compared with the limit of the machine.

Each engine answers the sentences of SST-2 dev (read from ../shared/data), tokenizing included. All engines are in one run. Texts per
second are the best of 3 passes over all texts, sorted by length. The time of one text is a median. The table also has accuracy and the
number of answers that differ from torch in fp32. Each pair of engine and number of cores has a separate process, pinned to its cores.
The command writes a table into docs/results/performance.md.

    dvc repro && python -m benchmarks.inference
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import write_speeds
from benchmarks.transfer import DATA, read_table
from serving.inference.bundle import PORTABLE, read_bundle
from serving.inference.classifier import Classifier
from serving.inference.cpu import multiplies_int8
from serving.inference.engines import start_engine

BUNDLE, MODEL = Path("models/serving"), Path("models/final")
ENGINES = ("torch-fp32", "torch-bf16", "onnxruntime-fp32", "onnxruntime-int8", "openvino-fp32", "openvino-bf16", "openvino-int8")
REFERENCE = "torch-fp32"
PASSES, ALONE, BATCH, PEAK_SECONDS = 3, 300, 32, 5
Answer = Callable[[Sequence[str]], np.ndarray]


def torch_answers(precision: str, cores: int) -> Answer:
    """Return a function that answers texts with torch as a careful user would: sorted batches of 32, padded to the longest text."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(cores)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = AutoModelForSequenceClassification.from_pretrained(MODEL, dtype=dtype).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)

    def answer(texts: Sequence[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        labels = np.zeros(len(texts), dtype=int)
        for start in range(0, len(texts), BATCH):
            rows = order[start : start + BATCH]
            encoded = tokenizer(
                [texts[row] for row in rows], truncation=True, padding=True, return_tensors="pt", return_token_type_ids=False
            )
            with torch.inference_mode():
                labels[rows] = model(**encoded).logits.argmax(dim=-1).numpy()
        return labels

    return answer


def our_answers(name: str, cores: int, scratch: Path) -> Answer:
    """Return a function that answers texts with the project's classifier, on one of its engines or on ONNX Runtime's dynamic INT8."""
    if name != "onnxruntime-int8":
        loaded = Classifier.load(BUNDLE, engine=name, threads=cores)
        return lambda texts: loaded.predict(texts).label_ids
    from onnxruntime.quantization import QuantType, quantize_dynamic

    file = scratch / "dynamic_int8.onnx"
    quantize_dynamic(BUNDLE / "model.onnx", file, weight_type=QuantType.QInt8, per_channel=True)
    bundle = read_bundle(BUNDLE)
    portable = next(engine for engine in bundle.engines if engine.name == PORTABLE)
    spec = replace(portable, name=name, files=(str(file),))
    classifier = Classifier(bundle, spec, start_engine(spec, BUNDLE, cores))
    return lambda texts: classifier.predict(texts).label_ids


def measure(name: str, cores: int, texts: list[str]) -> dict[str, Any]:
    """Measure one engine in this process."""
    with tempfile.TemporaryDirectory() as scratch:
        runtime, _, precision = name.partition("-")
        answer = torch_answers(precision, cores) if runtime == "torch" else our_answers(name, cores, Path(scratch))
        labels = answer(texts)
        passes = []
        for _ in range(PASSES):
            start = time.perf_counter()
            answer(texts)
            passes.append(time.perf_counter() - start)
        alone = []
        for text in texts[:ALONE]:
            start = time.perf_counter()
            answer([text])
            alone.append(time.perf_counter() - start)
    return {"texts_per_second": len(texts) / min(passes), "alone_ms": 1000 * float(np.median(alone)), "labels": labels.tolist()}


def gemm_peak(cores: int) -> dict[str, float]:
    """Return the machine's fastest matrix multiplication in GFLOP/s by precision. Each has a layer's shape and repeats for PEAK_SECONDS."""
    import torch

    torch.set_num_threads(cores)
    peaks = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = torch.randn(512, 384).to(dtype), torch.randn(1536, 384).to(dtype)
        best, end = float("inf"), time.perf_counter() + PEAK_SECONDS
        while (start := time.perf_counter()) < end:
            left @ right.T
            best = min(best, time.perf_counter() - start)
        peaks[name] = 2 * 512 * 1536 * 384 / best / 1e9
    return peaks


def flop_per_text(texts: list[str]) -> tuple[float, float]:
    """Return the mean number of multiplications and additions for a text without padding: in all layers, and in the exported model.

    The exported model computes the last layer for the first token only, except keys and values.
    """
    config = json.loads((MODEL / "config.json").read_text("utf-8"))
    dim, hidden, layers = config["dim"], config["hidden_dim"], config["n_layers"]
    tokens = Classifier.load(BUNDLE).predict(texts).tokens.astype(float)
    layer = 2 * tokens * (4 * dim**2 + 2 * dim * hidden + 2 * tokens * dim)
    last = 2 * (tokens * (2 * dim**2 + 2 * dim) + 2 * dim**2 + 2 * dim * hidden)
    return float((layers * layer).mean()), float(((layers - 1) * layer + last).mean())


def in_process(*flags: str, cores: int) -> Any:
    """Run this module in a process pinned to the first `cores` cores. Return the JSON of its last line."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.inference", *flags, "--cores", str(cores)],
        preexec_fn=lambda: os.sched_setaffinity(0, allowed), stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure all engines and write the table. With --engine, print one engine or the peak for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test data")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"ERROR: {options.data} does not exist: use --data to name the folder with sst2/")
    rows = read_table(options.data / "sst2" / "dev.tsv", header=True)
    texts = [text for text, _ in rows]
    if options.engine == "peak":
        print(json.dumps(gemm_peak(options.cores)))
    elif options.engine:
        print(json.dumps(measure(options.engine, options.cores, texts)))
    else:
        write_speeds("inference", table(options.data, texts, np.array([label for _, label in rows])))


def table(data: Path, texts: list[str], truth: np.ndarray) -> str:
    """Measure all engines and the peak, and return the table."""
    counts = [number for number in (1, 2) if number <= len(os.sched_getaffinity(0))]
    found = {(name, cores): in_process("--engine", name, "--data", str(data), cores=cores) for cores in counts for name in ENGINES}
    reference = np.array(found[REFERENCE, 1]["labels"])
    heads = [f"texts/s, {cores} core{'s' if cores > 1 else ''} | against torch" for cores in counts]
    lines = [
        f"| engine | {' | '.join(heads)} | one text, 1 core | accuracy | changed |",
        "|---|" + "---|---|" * len(counts) + "---|---|---|",
    ]
    for name in ENGINES:
        speeds = []
        for cores in counts:
            speed = found[name, cores]["texts_per_second"]
            speeds += [f"{speed:,.0f}", f"{speed / found[REFERENCE, cores]['texts_per_second']:.1f} x"]
        labels, alone = np.array(found[name, 1]["labels"]), found[name, 1]["alone_ms"]
        changed, accuracy = int((labels != reference).sum()), (labels == truth).mean()
        lines.append(f"| {name} | {' | '.join(speeds)} | {alone:.2f} ms | {accuracy:.1%} | {changed} of {len(texts)} |")
    peaks, (full, exported) = in_process("--engine", "peak", "--data", str(data), cores=1), flop_per_text(texts)
    shares = ", ".join(
        f"{name} {found[name, 1]['texts_per_second'] * need / 1e9 / peak:.0%}"
        for name, need, peak in (
            ("torch-fp32", full, peaks["fp32"]),
            ("openvino-fp32", exported, peaks["fp32"]),
            ("openvino-bf16", exported, max(peaks.values())),  # a CPU without bf16 ignores the hint
        )
    )
    int8 = found["openvino-int8", 1]["texts_per_second"] * exported / 1e9
    more = " (and could at twice that in INT8)" if multiplies_int8() else ""
    note = (
        f"\nA text needs {full / 1e9:.2f} GFLOP on average, {exported / 1e9:.2f} as it is exported. One core multiplies matrices at "
        f"{peaks['fp32']:,.0f} GFLOP/s in fp32 and {peaks['bf16']:,.0f} in bf16 at most{more}. Share of it that is reached, tokenizing "
        f"and all else included: {shares}; openvino-int8 does {int8:,.0f} GOP/s."
    )
    return "\n".join([*lines, note])


if __name__ == "__main__":
    main()
