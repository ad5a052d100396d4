"""Micro-batches: how many a step needs, so that each fits into memory.

In: a model, tokenized texts, the params as given and the machine. Out: the recipe, with the micro-batches of a step.
A few forward and backward passes on the largest micro-batch measure what a text takes. Nothing of them stays.
"""

import logging
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object

from stages.shared.batches import PaddingCollator, Texts
from stages.shared.errors import StageError
from stages.shared.training.checkpoints import TrainingFolder, remove_checkpoints, write_atomic
from stages.shared.training.machine import Machine
from stages.shared.training.memory import OutOfMemory, free_share_bytes, return_freed_memory, taken_bytes
from stages.shared.training.recipe import Recipe, Wanted, recipe
from stages.shared.training.sampler import EqualTokenSampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("micro_batches")

USABLE_SHARE = 0.9  # of the free memory; the rest is for errors of the estimate
LENGTH_RESERVE = 0.25  # of the texts of the first epoch's largest micro-batch: other epochs mix the lengths differently
OPTIMIZER_COPIES = 3  # of the weights, allocated later: two moments of AdamW, and the best epoch when it is read back


class StepTooSmall(StageError):
    """A step has fewer texts than micro-batches in all processes."""

    def __init__(self, texts: int, processes: int, micro_batches: int) -> None:
        super().__init__(
            f"a step of {texts} texts is too small for {processes} processes with {micro_batches} micro-batches each: "
            "raise train.batch_size or start fewer processes"
        )


def recipe_that_fits(model: "PreTrainedModel", texts: Texts, wanted: Wanted, machine: Machine, folder: TrainingFolder) -> Recipe:
    """Return the recipe; if train.batch_size is auto, split its steps into micro-batches that fit into memory.

    A resumed cross-entropy run keeps at least its number of micro-batches. A resumed contrastive run that no longer fits starts over with
    cross-entropy. Raises StepTooSmall, or OutOfMemory if not even one text fits.
    """
    classes = model.config.num_labels
    earlier = int(folder.parts_of_a_step.read_text("utf-8")) if folder.parts_of_a_step.exists() else None
    if earlier and not wanted.contrastive_refused:
        wanted = wanted._replace(contrastive_refused="this training began with cross-entropy")
    chosen = recipe(len(texts), classes, wanted)
    if wanted.batch_size == "auto":
        begun = chosen._replace(parts_of_a_step=earlier or chosen.parts_of_a_step)
        fitting = texts_that_fit(model, texts, begun, machine)
        count = micro_batches_of(texts, begun, machine, fitting)
        if chosen.pairs and count > 1:
            chosen = recipe(len(texts), classes, wanted._replace(contrastive_refused="a step does not fit into memory at once"))
            remove_checkpoints(folder.path)  # contrastive ones, if the run is resumed
            count = micro_batches_of(texts, chosen, machine, fitting)
        if count != chosen.parts_of_a_step:
            step = chosen.texts_a_step
            log.warning("a step of %d texts does not fit into memory at once: it is computed in %d micro-batches", step, count)
        chosen = chosen._replace(parts_of_a_step=count)
        if not chosen.pairs:
            write_atomic(folder.parts_of_a_step, str(count).encode())
    if not chosen.pairs and chosen.parts_of_a_step * machine.processes > chosen.texts_a_step:
        raise StepTooSmall(chosen.texts_a_step, machine.processes, chosen.parts_of_a_step)
    return chosen


def texts_that_fit(model: "PreTrainedModel", texts: Texts, chosen: Recipe, machine: Machine) -> float:
    """Return how many texts a micro-batch may hold, measured on the largest one: equal in all processes. Raises OutOfMemory if none fits.

    Measure once in a process: a second time, blocks that the first one has left hide what a text takes.
    """
    items = [texts[row] for row in _largest_micro_batch(texts, chosen, machine, chosen.parts_of_a_step)]
    fitting = min(gather_object([_batch_size_that_fits(model, items, machine)]))
    if fitting < 1:
        raise OutOfMemory
    return float(fitting)


def micro_batches_of(texts: Texts, chosen: Recipe, machine: Machine, fitting: float) -> int:
    """Return the number of micro-batches of a step: that of the recipe, doubled until none has more texts than fit."""
    count, most = chosen.parts_of_a_step, min(chosen.texts_a_step, len(texts)) // _processes_of_a_step(chosen, machine)
    while len(_largest_micro_batch(texts, chosen, machine, count)) > fitting and 2 * count <= most:
        count *= 2
    return count


def _largest_micro_batch(texts: Texts, chosen: Recipe, machine: Machine, micro_batches: int) -> list[int]:
    """Return the rows of the largest micro-batch of the first epoch, with a reserve of texts for later epochs."""
    processes = _processes_of_a_step(chosen, machine)
    sampler = EqualTokenSampler(texts.lengths, chosen.texts_a_step, 0, micro_batches=micro_batches, processes=processes)
    rows = sampler.heaviest()
    return rows + rows[: math.ceil(LENGTH_RESERVE * len(rows))]


def _processes_of_a_step(chosen: Recipe, machine: Machine) -> int:
    """Return how many processes share a step. In contrastive training each process computes every step in full."""
    return 1 if chosen.pairs else machine.processes


def _batch_size_that_fits(model: "PreTrainedModel", items: Sequence[dict[str, Any]], machine: Machine) -> float:
    """Return how many texts of similar length a micro-batch may hold, at most all of them.

    Each attempt has twice as many texts as the one before, as long as it is sure to fit beside what the optimizer will take.
    """
    device = machine.device
    if device == "mps" or (device == "cpu" and sys.platform != "linux"):
        return len(items)
    model.to(device)
    return_freed_memory()
    usable = USABLE_SHARE * (torch.cuda.mem_get_info()[0] if device == "cuda" else free_share_bytes())
    usable -= OPTIMIZER_COPIES * sum(weights.numel() * weights.element_size() for weights in model.parameters())
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()  # a teacher or pre-training raised the peak
    start = torch.cuda.memory_allocated() if device == "cuda" else taken_bytes()
    count, peak, earlier_peak = 0, 0, 0
    following = 1
    while True:
        _forward_and_backward(model, items[:following], machine)
        earlier_peak, peak = peak, (torch.cuda.max_memory_allocated() if device == "cuda" else taken_bytes()) - start
        bytes_a_text = (peak - earlier_peak) / (following - count) / USABLE_SHARE
        count, following = following, min(2 * following, len(items))
        if count == following or peak + bytes_a_text * (following - count) > usable:
            return min(len(items), count + (usable - peak) / max(bytes_a_text, 1.0))


def _forward_and_backward(model: "PreTrainedModel", items: Sequence[dict[str, Any]], machine: Machine) -> None:
    """Compute one micro-batch as training does, and drop the gradients."""
    batch = PaddingCollator(model.config.pad_token_id)(items)
    lower = torch.float16 if machine.precision == "fp16" else torch.bfloat16
    with torch.autocast(machine.device, lower, enabled=machine.precision != "fp32"):
        logits = model(**{name: batch[name].to(machine.device) for name in ("input_ids", "attention_mask")}).logits
    logits.float().square().sum().backward()
    model.zero_grad(set_to_none=True)
