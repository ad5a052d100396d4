"""The teacher of a distillation: its logits for the texts of the train split.

In: the folder of a larger fine-tuned model or a header-only file, and the train split. Out: logits (rows, classes), or None.
Where a vocabulary is fitted and no folder is named, the linear baseline is the teacher.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from stages.shared.baseline import out_of_fold_log_probabilities
from stages.shared.batches import tokenize
from stages.shared.errors import StageError, first_line
from stages.shared.splits import is_header_only
from stages.shared.training.checkpoints import TrainingFolder, load_or_make
from stages.shared.training.machine import Machine
from stages.shared.training.memory import is_out_of_memory

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("teacher")

BATCH_TOKENS = 8192


class TeacherUnusable(StageError):
    """A teacher that cannot teach."""

    def __init__(self, folder: Path, problem: str, remedy: str) -> None:
        super().__init__(f"the teacher {folder} {problem}: {remedy}")


def teacher_logits(
    teacher: Path,
    split: "pd.DataFrame",
    class_names: Sequence[str],
    machine: Machine,
    folder: TrainingFolder,
    *,
    linear_seed: int | None,
) -> Tensor | None:
    """Return the teacher's logits (rows, classes) for the train split, or None if there is no teacher.

    teacher: the folder of a fine-tuned model, or a header-only file. linear_seed: seed of the linear baseline, which takes the place
    of a header-only file (None: it does not). folder: keeps the logits for the other processes and for a resumed training.
    """
    has_model = not is_header_only(teacher)
    if not has_model and linear_seed is None:
        return None

    def make() -> bytes:
        if has_model or linear_seed is None:
            return save({"logits": model_logits(teacher, split["text"].tolist(), class_names, machine)})
        log.info("the linear baseline classifies the train split: it is the teacher")
        linear = out_of_fold_log_probabilities(split, len(class_names), linear_seed)
        if linear is None:
            log.warning("there is no teacher: the linear baseline needs two classes, and two texts of each")
            return save({})
        return save({"logits": torch.from_numpy(linear)})

    return load(load_or_make(folder.teacher, make)).get("logits")


def model_logits(folder: Path, texts: Sequence[str], class_names: Sequence[str], machine: Machine) -> Tensor:
    """Return the logits (texts, classes) of a fine-tuned model, its classes in the order of class_names.

    folder: what AutoModelForSequenceClassification loads, with its tokenizer. Raises StageError if it cannot be loaded
    or has other classes.
    """
    model, tokenizer = _load(folder, machine.device)
    names = [model.config.id2label[class_id] for class_id in range(model.config.num_labels)]
    if sorted(names) != sorted(class_names):
        raise TeacherUnusable(folder, f"has the classes {', '.join(names)}, not {', '.join(class_names)}", "train it on these")
    encoded = tokenize(texts, None, tokenizer)
    logits = torch.empty(len(texts), len(names))
    autocast = torch.autocast(machine.device, torch.bfloat16, enabled=machine.precision == "bf16")
    try:
        with tqdm(total=len(texts), desc="teacher", unit=" texts", disable=None) as bar, torch.inference_mode(), autocast:
            for batch in encoded.sorted_batches(max(1, BATCH_TOKENS // int(encoded.lengths.max())), tokenizer.pad_token_id):
                inputs = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
                logits[batch["row"]] = model(**inputs).logits.float().cpu()
                bar.update(len(batch["row"]))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TeacherUnusable(folder, "runs out of memory", "close other programs, or name a smaller model in train.teacher") from error
    return logits[:, [names.index(name) for name in class_names]]


def _load(folder: Path, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if not (folder / "config.json").is_file():
        raise StageError(f"train.teacher is {folder}: name the folder of a fine-tuned model, or data/raw/none.csv for no teacher")
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval().to(device)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if tokenizer.pad_token_id is None:
            raise ValueError("its tokenizer has no padding token")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise TeacherUnusable(folder, f"cannot be loaded ({first_line(error)})", "name another folder in train.teacher") from None
    tokenizer.model_max_length = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512) - 2)
    return model, tokenizer
