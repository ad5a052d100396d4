"""What memory a training may take: kept between steps, an error where it runs out, and steps in as many parts as will fit.

On Linux the kernel kills whoever takes the last memory, without a word. A training on the CPU so limits itself to what is free
when it begins, and asking for more becomes an error that can be told. A GPU says so itself.
"""

import ctypes
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object

from stages.shared.batches import PaddingCollator, Texts
from stages.shared.errors import StageError
from stages.shared.training.checkpoints import put, remove_checkpoints
from stages.shared.training.recipe import Recipe, Wanted, recipe
from stages.shared.training.sampler import EqualTokenSampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("train")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
CGROUPS, GROUPS_OF_THIS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
USABLE_SHARE = 0.9  # share of the room that may be filled by what is foreseen
LENGTH_RESERVE = 0.25  # of the texts of the first epoch's heaviest batch: later epochs mix the lengths anew
OPTIMIZER_COPIES = 3  # of the weights, later on: two means of AdamW, and the best epoch's when it is read back
OOM_MESSAGES = ("allocate memory", "out of memory", "could not create a")  # of torch, of CUDA, of oneDNN


class OutOfMemory(StageError):
    """A step that takes more memory than there is."""

    def __init__(self) -> None:
        super().__init__(
            "out of memory: set train.batch_size to auto or lower it, raise train.gradient_accumulation, or lower train.max_length"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there was no more memory."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in OOM_MESSAGES)
    )


def keep_freed_memory() -> None:
    """Have glibc keep the large blocks of a step for the next one: asking the system for them anew cost a tenth of the time."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for option, value in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1)):
            mallopt(option, value)


@contextmanager
def limited_to_what_is_free(*, on_cpu: bool) -> Iterator[None]:
    """Have this process get an error where it asks for more memory than is free now; raise OutOfMemory for it.

    Of several processes on a machine each may take an equal share. Sets no limit but on Linux, on the CPU.
    """
    limits = on_cpu and sys.platform == "linux"
    if limits:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = _taken_bytes() + _share_of_what_is_free()
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory from error
    finally:
        if limits:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def free_bytes() -> int:
    """Return what Linux can still give this process: what is free in the machine, and less where a group of its processes has less.

    Containers, systemd and SLURM set such limits, on its group or on one that holds it.
    """
    free = _kilobytes(Path("/proc/meminfo"), "MemAvailable")
    for folder, most, taken, cache in _groups():
        with suppress(OSError, ValueError, StopIteration):  # no such group, or "max" for no limit
            limit, used = (int((folder / name).read_text("utf-8")) for name in (most, taken))
            lines = (folder / "memory.stat").read_text("utf-8").splitlines()
            given_back = next(int(line.split()[1]) for line in lines if line.startswith(f"{cache} "))  # files read: they make room
            free = min(free, limit - used + given_back)
    return free


def _groups() -> Iterator[tuple[Path, str, str, str]]:
    """Give folder and file names of the memory groups of this process, its own first; a container may see its own as the root."""
    of_version_1 = (CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    of_version_2 = (CGROUPS, "memory.max", "memory.current", "inactive_file")
    lines = GROUPS_OF_THIS.read_text("utf-8").splitlines() if GROUPS_OF_THIS.exists() else []
    for line in [*lines, "0::/", "0:memory:/"]:
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            root, most, taken, cache = of_version_1 if controllers else of_version_2
            inner = root / path.strip("/")
            for folder in (inner, *inner.parents):
                if folder.is_relative_to(root):
                    yield folder, most, taken, cache


def _share_of_what_is_free() -> int:
    return free_bytes() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _taken_bytes() -> int:
    """Return what this process has taken; it does not fall, for freed memory is kept (keep_freed_memory)."""
    return _kilobytes(Path("/proc/self/status"), "VmData")


def _kilobytes(file: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text("utf-8").splitlines() if line.startswith(f"{name}:")) * 1024


def recipe_that_fits(
    model: "PreTrainedModel", texts: Texts, wanted: Wanted, machine: Mapping[str, str | int], checkpoints_dir: Path
) -> Recipe:
    """Return the recipe for the texts, where the batch size is auto with a step in as many parts as fit into memory.

    After a kill, what has begun by label goes on so, in no fewer parts; what has begun in pairs that no longer fit begins anew by label.
    Raises StageError where a step has not a text for each process and part, OutOfMemory where not even a single text fits.
    """
    classes = model.config.num_labels
    kept = checkpoints_dir / "parts_of_a_step"  # of a training by label
    begun = int(kept.read_text("utf-8")) if kept.exists() else None
    chosen = recipe(len(texts), classes, wanted._replace(by_label=wanted.by_label or "it has begun so") if begun else wanted)
    if wanted.batch_size == "auto":
        parts = parts_that_fit(model, texts, chosen._replace(parts_of_a_step=begun or chosen.parts_of_a_step), machine)
        if chosen.pairs and parts > 1:
            chosen = recipe(len(texts), classes, wanted._replace(by_label="a step does not fit into memory at once"))
            remove_checkpoints(checkpoints_dir)  # those of pairs, before a kill
            parts = parts_that_fit(model, texts, chosen, machine)
        chosen = chosen._replace(parts_of_a_step=parts)
        if not chosen.pairs:
            put(kept, str(parts).encode())
    processes = int(machine["processes"])
    if not chosen.pairs and chosen.parts_of_a_step * processes > chosen.texts_a_step:
        raise StageError(
            f"a step of {chosen.texts_a_step} texts is too small for {processes} processes and {chosen.parts_of_a_step} parts: "
            "raise train.batch_size or start fewer processes"
        )
    return chosen


def parts_that_fit(model: "PreTrainedModel", texts: Texts, chosen: Recipe, machine: Mapping[str, str | int]) -> int:
    """Return in how many parts a step fits into memory: those chosen, or twice as many until it does, the same in all processes.

    Raises OutOfMemory where not even a single text does.
    """
    processes = 1 if chosen.pairs else int(machine["processes"])  # pairs are not shared

    def heaviest(parts: int) -> list[int]:
        rows = EqualTokenSampler(texts.lengths, chosen.texts_a_step, 0, parts=parts, processes=processes).heaviest()
        return rows + rows[: math.ceil(LENGTH_RESERVE * len(rows))]

    parts = chosen.parts_of_a_step
    fitting = min(gather_object([_texts_that_fit(model, [texts[row] for row in heaviest(parts)], machine)]))
    if fitting < 1:
        raise OutOfMemory
    while len(heaviest(parts)) > fitting and parts * processes * 2 <= min(chosen.texts_a_step, len(texts)):
        parts *= 2
    if parts != chosen.parts_of_a_step:
        log.warning("a step of %d texts does not fit into memory at once: it is computed in %d parts", chosen.texts_a_step, parts)
    return parts


def _texts_that_fit(model: "PreTrainedModel", items: Sequence[dict[str, Any]], machine: Mapping[str, str | int]) -> float:
    """Return how many of some like-long texts a batch may hold, at most all of them.

    Learns from twice as many each time, as long as the next attempt is sure to fit beside what the optimizer will take.
    """
    device = str(machine["device"])
    if device == "mps" or (device == "cpu" and sys.platform != "linux"):
        return len(items)
    model.to(device)
    room = USABLE_SHARE * (torch.cuda.mem_get_info()[0] if device == "cuda" else _share_of_what_is_free())
    room -= OPTIMIZER_COPIES * sum(weights.numel() * weights.element_size() for weights in model.parameters())
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()  # what a teacher or a warm-up took
    start = torch.cuda.memory_allocated() if device == "cuda" else _taken_bytes()
    count, peak, earlier = 0, 0, 0
    following = 1
    while True:
        _learn_and_forget(model, items[:following], machine)
        earlier, peak = peak, (torch.cuda.max_memory_allocated() if device == "cuda" else _taken_bytes()) - start
        each = (peak - earlier) / (following - count) / USABLE_SHARE
        count, following = following, min(2 * following, len(items))
        if count == following or peak + each * (following - count) > room:
            return min(len(items), count + (room - peak) / max(each, 1.0))


def _learn_and_forget(model: "PreTrainedModel", items: Sequence[dict[str, Any]], machine: Mapping[str, str | int]) -> None:
    device, precision = str(machine["device"]), machine["precision"]
    batch = PaddingCollator(model.config.pad_token_id)(items)
    with torch.autocast(device, torch.float16 if precision == "fp16" else torch.bfloat16, enabled=precision != "fp32"):
        logits = model(**{name: batch[name].to(device) for name in ("input_ids", "attention_mask")}).logits
    logits.float().square().sum().backward()
    model.zero_grad(set_to_none=True)
