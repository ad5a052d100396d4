"""Benchmark of training speed, compared with the plain recipe: fixed padding to 128, batches of 4, fp32, the Trainer's defaults.

Both use the same base model and the same sentences of SST-2 train (read from ../shared/data). Speed is in real tokens, without padding.
Each variant runs in a separate process, in turns. The median of the turns counts, because speed varies while a machine has other users.
More tables show the gain of each technique, and how speed and memory depend on the number of texts. FLOP per second are 6 x parameters
outside the embeddings x tokens per second. The peak is the fastest bf16 multiplication of large matrices in the same turns.
The command writes tables into docs/results/performance.md.

    dvc repro base_model && python -m benchmarks.training
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.tables import PERFORMANCE, write_table
from benchmarks.transfer import DATA, read_table
from stages import train
from stages.shared import batches, params
from stages.shared.training import classifier, trainer
from stages.shared.training.fitting import Prepared, make_trainer
from stages.shared.training.loss import TrainingLoss
from stages.shared.training.machine import resolve_machine
from stages.shared.training.memory import keep_freed_memory
from stages.shared.training.narrow_embeddings import NarrowEmbeddings
from stages.shared.training.recipe import Wanted, recipe

BASE = Path("models/base")
TURNS = 3
WARM = 4  # steps before the clock starts
STEPS = {"plain recipe": 20}  # measured steps; 60 for the others
VARIANTS = {
    "plain recipe": "plain recipe: padding to 128, batches of 4, fp32",
    "ours": "`train`, as params.yaml has it",
    "fp32": "... in fp32",
    "random batches": "... with texts of any length in a batch",
    "equal batches": "... with as many texts in each batch, grouped by length",
    "no token dropout": "... without token dropout",
    "dropout": "... with dropout",
    "sdpa": "... with scaled_dot_product_attention",
    "all embeddings": "... with all embeddings in each step",
    "memory given back": "... with memory given back to the system after each step",
    "32 texts": "... with batches of 32",
}
OPERATIONS = {  # operations of a step, by their names in torch's profiler
    "matrix products": {"aten::mm", "aten::addmm"},
    "attention": {"aten::bmm", "aten::baddbmm", "aten::_softmax", "aten::_softmax_backward_data"},
    "weights and activations taken to bf16 and back": {"aten::copy_"},
    "layer norms and GELU": {
        "aten::native_layer_norm", "aten::native_layer_norm_backward", "aten::gelu", "aten::gelu_backward",
    },
    "sums over texts (gradients of biases), residuals": {"aten::sum", "aten::add", "aten::add_"},
    "AdamW": {"aten::_fused_adamw_"},
    "norm of the gradient, and its clipping": {"aten::linalg_vector_norm", "aten::mul_"},
    "embeddings and their gradient": {"aten::index_select", "aten::embedding_dense_backward", "aten::fill_"},
    "loading": {"enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"},
}  # fmt: skip
SIZES = (1_000, 10_000, 100_000, 1_000_000)


class Clock(TrainerCallback):
    """Callback that records the time at the end of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.times.append(time.perf_counter())


def sentences(count: int) -> list[tuple[str, int]]:
    """Return `count` phrases of SST-2 train in random order. Repeat them if there are fewer."""
    rows = read_table(DATA / "sst2" / "train.tsv", header=True)
    random.Random(0).shuffle(rows)
    return (rows * (count // len(rows) + 1))[:count]


def plain(rows: list[tuple[str, int]], steps: int) -> tuple[list[float], list[int]]:
    """Train by the plain recipe. Return the time at the end of each step and its tokens."""
    from datasets import Dataset

    tokenizer = AutoTokenizer.from_pretrained(BASE)
    encoded = tokenizer([text for text, _ in rows], padding="max_length", truncation=True, max_length=128, return_token_type_ids=False)
    data = Dataset.from_dict({**encoded, "labels": [label for _, label in rows]})
    clock, tokens = Clock(), []

    class Counting(Trainer):
        def training_step(self, model: Any, inputs: Any, *rest: Any) -> Any:
            tokens.append(int(inputs["attention_mask"].sum()))
            return super().training_step(model, inputs, *rest)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, per_device_train_batch_size=4, max_steps=WARM + steps, use_cpu=not torch.cuda.is_available())
        model = AutoModelForSequenceClassification.from_pretrained(BASE, dtype=torch.float32)
        Counting(model=model, args=arguments, train_dataset=data, callbacks=[clock]).train()
    return clock.times, tokens


def ours(rows: list[tuple[str, int]], steps: int, variant: str) -> tuple[list[float], list[int]]:
    """Train as the stage does, with one change. Return the time at the end of each step and its tokens."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        learner, lengths = prepared(rows, variant, Path(folder))
        learner.args.eval_strategy, learner.args.save_strategy, learner.args.load_best_model_at_end = "no", "no", False
        learner.args.max_steps = WARM + steps
        learner.remove_callback(EarlyStoppingCallback)
        learner.add_callback(clock)
        order = _order(variant, lengths, learner)
        trainer.train_from_newest(learner)
    return clock.times, [int(lengths[batch].sum()) for batch in order[: WARM + steps]]


def prepared(rows: list[tuple[str, int]], variant: str, folder: Path) -> tuple[classifier.ClassifierTrainer, NDArray[np.int64]]:
    """Return the stage's trainer with one change, and the tokens of each text. A tenth of the texts is the validation split."""
    settings = params.load(Path("params.yaml"), "train", train.TrainParams)
    changes: dict[str, dict[str, object]] = {
        "32 texts": {"batch_size": 32},
        "fp32": {"precision": "fp32"},
        "no token dropout": {"token_dropout": 0.0},
    }
    settings = settings.model_copy(update=changes.get(variant, {}))
    chosen = recipe(len(rows), 2, Wanted(settings.epochs, settings.batch_size, settings.gradient_accumulation, settings.learning_rate))
    machine = resolve_machine(settings.precision, settings.threads)
    if variant != "memory given back":
        keep_freed_memory()
    tokenizer = AutoTokenizer.from_pretrained(BASE, model_max_length=settings.max_length)
    texts, validation = (
        batches.tokenize([text for text, _ in part], [label for _, label in part], tokenizer) for part in (rows, rows[: len(rows) // 10])
    )
    model = classifier.load_classifier(BASE, ("negative", "positive"), machine, trainer.SHORT, settings.seed)
    if variant == "sdpa":
        model.set_attn_implementation("sdpa")
    if variant == "dropout":
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1
    splits = {"train": texts, "validation": validation}
    narrow = NarrowEmbeddings(model, splits.values(), tokenizer)
    if variant == "all embeddings":
        narrow.restore()
        narrow.token_ids = np.arange(len(tokenizer), dtype=np.int32)
    splits = {name: split.with_ids(narrow.to_narrow_ids(split.ids)) for name, split in splits.items()}
    ready = Prepared(model, tokenizer, splits, narrow, TrainingLoss(torch.ones(2), 0.0, None), coverage={}, is_refit=False)
    shared = settings.model_dump(include={"warmup_ratio", "token_dropout", "early_stopping_patience", "seed"})
    return make_trainer(ready, chosen, machine, folder, **shared), texts.lengths


def _order(variant: str, lengths: NDArray[np.int64], learner: trainer.BatchTrainer) -> list[list[int]]:
    """Return the batches in the order of the steps. For a variant that changes them, make the Trainer use those."""
    sampler = learner.sampler()
    if variant in ("random batches", "equal batches"):
        rows = list(range(len(lengths)))
        random.Random(1).shuffle(rows)
        if variant == "equal batches":
            rows.sort(key=lambda row: lengths[row])
        texts_a_step = len(rows) // sampler.steps
        order = [rows[start : start + texts_a_step] for start in range(0, len(rows), texts_a_step)]
        random.Random(2).shuffle(order)
        type(sampler).__iter__ = lambda self: iter(order)  # type: ignore[method-assign]
        type(sampler).__len__ = lambda self: len(order)  # type: ignore[method-assign]
        return order
    order = []
    for epoch in range(-(-(WARM + 60) // sampler.steps)):
        sampler.set_epoch(epoch)
        order += list(sampler)
    return order


def profile(steps: int = 30) -> str:
    """Return a table of the time of a step by operation, from torch's profiler. An operation excludes the operations that it calls."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        ours(sentences(12_000), steps, "ours")
    spent = dict.fromkeys([*OPERATIONS, "the rest"], 0.0)
    for event in profiler.key_averages():
        spent[next((group for group, names in OPERATIONS.items() if event.key in names), "the rest")] += event.self_cpu_time_total
    total = sum(spent.values())
    lines = [f"| {group} | {time / total:.0%} |" for group, time in sorted(spent.items(), key=lambda entry: -entry[1])]
    return "\n".join(["| | share of a step's time |", "|---|---|", *lines, "", beside_the_steps()])


def beside_the_steps(count: int = 12_000) -> str:
    """Return the share of an epoch that evaluation and checkpoint take."""
    spent = dict.fromkeys(("evaluate", "_save_checkpoint"), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        learner, _ = prepared(sentences(count), "ours", Path(folder))
        learner.args.num_train_epochs = 1
        for name in spent:
            setattr(learner, name, _timed(getattr(learner, name), name, spent))
        started = time.perf_counter()
        trainer.train_from_newest(learner)
        total = time.perf_counter() - started
    evaluation, checkpoint = (seconds / total for seconds in spent.values())
    return (
        f"Of an epoch of {count:,} texts ({total:.0f} s) {evaluation:.1%} is the evaluation of {count // 10:,} of them and "
        f"{checkpoint:.1%} the checkpoint."
    )


def _timed(call: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """Wrap a call so that it adds its seconds to `spent`."""

    def timed(*given: Any, **options: Any) -> Any:
        started = time.perf_counter()
        found = call(*given, **options)
        spent[name] += time.perf_counter() - started
        return found

    return timed


def measure(variant: str, count: int) -> None:
    """Print the figures of a variant as JSON: tokens per second, seconds until the first step, peak memory in MB, GFLOP/s of bf16."""
    steps = STEPS.get(variant, 60)
    rows = sentences(count)
    started = time.perf_counter()
    times, tokens = plain(rows, steps) if variant == "plain recipe" else ours(rows, steps, variant)
    spent, measured = times[-1] - times[WARM - 1], sum(tokens[WARM : len(times)])
    figures = {
        "tokens": measured / spent,
        "first_step": times[0] - started,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures | {"peak": peak()}))


def peak() -> float:
    """Return the GFLOP/s of the fastest of eight bf16 multiplications of large matrices."""
    best = 0.0
    left, right = (torch.randn(4096, 4096).bfloat16() for _ in range(2))
    for _ in range(8):
        started = time.perf_counter()
        left @ right
        best = max(best, 2 * 4096**3 / (time.perf_counter() - started) / 1e9)
    return best


def run(variant: str, count: int = 12_000) -> dict[str, float]:
    """Measure a variant in a separate process, and return its figures."""
    command = [sys.executable, "-m", "benchmarks.training", "--variant", variant, "--texts", str(count)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(variant, count, {name: round(value, 1) for name, value in figures.items()}, flush=True)
    return figures


def encoder_parameters() -> int:
    """Return the number of parameters of the encoder outside its embeddings."""
    model = AutoModelForSequenceClassification.from_pretrained(BASE)
    return sum(weights.numel() for name, weights in model.base_model.named_parameters() if "embeddings" not in name)


def main() -> None:
    """Measure all variants in turns and write the tables. With --variant, print one variant for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--texts", type=int, default=12_000)
    options = parser.parse_args()
    if options.variant:
        measure(options.variant, options.texts)
        return
    turns = [{variant: run(variant) for variant in VARIANTS} for _ in range(TURNS)]
    speeds = {variant: statistics.median(turn[variant]["tokens"] for turn in turns) for variant in VARIANTS}
    fastest = max(turn[variant]["peak"] for turn in turns for variant in VARIANTS)
    tokenizer = AutoTokenizer.from_pretrained(BASE, model_max_length=128)
    length = batches.tokenize([text for text, _ in sentences(12_000)], None, tokenizer).lengths.mean()
    lines = ["| | tokens/s | texts/s | times the plain recipe | share of the bf16 peak |", "|---|---|---|---|---|"]
    for variant, words in VARIANTS.items():
        ratio = statistics.median(turn[variant]["tokens"] / turn["plain recipe"]["tokens"] for turn in turns)
        share = 6 * encoder_parameters() * speeds[variant] / 1e9 / fastest
        lines.append(f"| {words} | {speeds[variant]:,.0f} | {speeds[variant] / length:,.0f} | {ratio:.1f} x | {share:.0%} |")
    write_table("training", "\n".join([*lines, "", f"The peak was {fastest:,.0f} GFLOP/s."]), PERFORMANCE)
    write_table("training profile", profile(), PERFORMANCE)
    sizes = {count: run("ours", count) for count in SIZES}
    lines = ["| texts | tokens/s | until the first step | peak memory |", "|---|---|---|---|"]
    for count, found in sizes.items():
        lines.append(f"| {count:,} | {found['tokens']:,.0f} | {found['first_step']:.1f} s | {found['memory']:,.0f} MB |")
    write_table("training sizes", "\n".join(lines), PERFORMANCE)


if __name__ == "__main__":
    main()
