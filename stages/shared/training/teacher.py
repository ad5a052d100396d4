"""What a teacher answers to the texts that a model learns from: a larger fine-tuned model, or the linear one."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages.shared.baseline import out_of_fold_log_probabilities
from stages.shared.batches import tokenize
from stages.shared.errors import StageError
from stages.shared.training.checkpoints import load_or_make
from stages.shared.training.memory import is_out_of_memory

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("train")

TOKENS = 8192  # of a batch


def teacher_logits(
    teacher: Path,
    split: "pd.DataFrame",
    class_names: Sequence[str],
    machine: Mapping[str, str | int],
    folder: Path,
    *,
    linear_seed: int | None,
) -> Tensor | None:
    """Return the logits (rows, classes) that the train split is learnt from besides its labels, or None where nobody teaches.

    teacher: folder of a fine-tuned model, or a table without rows for none. linear_seed: has a linear model stand in where there is none.
    folder: keeps the answers for the other processes and for a training that goes on.
    """
    is_none = teacher.is_file() and not teacher.read_bytes().partition(b"\n")[2].strip()
    if is_none and linear_seed is None:
        return None

    def make() -> bytes:
        if is_none and linear_seed is not None:
            log.info("a linear model of words and letters answers the texts, to teach too")
            linear = out_of_fold_log_probabilities(split, len(class_names), linear_seed)
            if linear is None:
                log.warning("no linear model teaches: there is a class of a single text, or one class only")
                return save({})
            return save({"logits": torch.from_numpy(linear)})
        return save({"logits": answers(teacher, split["text"].tolist(), class_names, machine)})

    return load(load_or_make(folder / "teacher.safetensors", make)).get("logits")


def answers(folder: Path, texts: Sequence[str], class_names: Sequence[str], machine: Mapping[str, str | int]) -> Tensor:
    """Return the teacher's logits, (texts, classes), classes in the order of class_names.

    folder: of AutoModelForSequenceClassification with its tokenizer. Raises StageError where it is none, or has other classes.
    """
    if not (folder / "config.json").is_file():
        raise StageError(f"train.teacher is {folder}: name the folder of a fine-tuned model, or data/raw/none.csv for none")
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval().to(str(machine["device"]))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if tokenizer.pad_token_id is None:
            raise ValueError("its tokenizer knows no padding")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise StageError(f"the teacher {folder} cannot be loaded ({str(error).strip().splitlines()[0]})") from None
    names = [model.config.id2label[number] for number in range(model.config.num_labels)]
    if sorted(names) != sorted(class_names):
        raise StageError(f"the teacher {folder} knows the classes {', '.join(names)}, and not {', '.join(class_names)}: train it on these")
    tokenizer.model_max_length = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512) - 2)
    encoded = tokenize(texts, None, tokenizer)
    logits = torch.empty(len(texts), len(names))
    bar = tqdm(total=len(texts), desc="teacher", unit=" texts", disable=not sys.stderr.isatty())
    autocast = torch.autocast(str(machine["device"]), torch.bfloat16, enabled=machine["precision"] == "bf16")
    try:
        with bar, torch.inference_mode(), autocast:
            for batch in encoded.sorted_batches(max(1, TOKENS // int(encoded.lengths.max())), tokenizer.pad_token_id):
                inputs = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
                logits[batch["row"]] = model(**inputs).logits.float().cpu()
                bar.update(len(batch["row"]))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise StageError(f"out of memory while the teacher {folder} answers: free some, or name a smaller one in train.teacher") from error
    return logits[:, [names.index(name) for name in class_names]]
