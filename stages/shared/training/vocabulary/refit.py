"""Teach an encoder the language of the texts, where its own vocabulary breaks them into letters.

A vocabulary is fitted on the texts, the transformer's layers stay, and the embeddings start from the old ones of pieces that both
know, and for others from the company that they keep. A masked-language warm-up on the texts alone, without labels, then teaches
embeddings and layers to fit.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast, set_seed

from stages.shared.batches import NO_CLASS, PaddingCollator, Texts, tokenize
from stages.shared.errors import StageError
from stages.shared.training.checkpoints import flush
from stages.shared.training.memory import is_out_of_memory
from stages.shared.training.trainer import BatchTrainer, arguments, attention, train_from_newest, without_dropout
from stages.shared.training.vocabulary import cooccurrence

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("vocabulary")

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
BEGINNINGS = ("▁", "Ġ")  # marks of pieces that begin a word
MOST_PIECES = 16_000
CHARACTERS_A_PIECE = 40  # of the texts, so that small data is not learnt by heart
LETTERS = 4_000  # the most frequent ones; the others are [UNK]
# Of the pieces; so many, for that teaches more in so few epochs (Wettig et al. 2023). Of those 8 in 10 are hidden, 1 is another, 1 stays.
MASKED = 0.4
EPOCHS = 2
BATCH_SIZE = 64
LEARNING_RATE = 5e-4
EMBEDDING_RATE = 10.0  # times the learning rate of the classifier: fresh embeddings have further to go than the layers


def fit(texts: Sequence[str], max_length: int, pad_token_id: int = 0) -> "PreTrainedTokenizerBase":
    """Fit byte-pair pieces on the texts, whole words marked by ▁; equal texts give an equal vocabulary.

    pad_token_id: the id of [PAD] in the base, kept up to 4, for RoBERTa counts positions from it. Unigram pieces, which the
    same library fits, come out a little different on each run.
    """
    pieces = Tokenizer(models.BPE(unk_token=SPECIAL["unk_token"]))
    pieces.normalizer = normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    pad, *special = SPECIAL.values()
    special.insert(pad_token_id, pad)
    counts = Counter(letter for text in texts for letter in normalizer.normalize_str(text))
    size = min(MOST_PIECES, len(SPECIAL) + min(LETTERS, len(counts)) + sum(map(len, texts)) // CHARACTERS_A_PIECE)
    rare = dict.fromkeys(map(ord, sorted(counts, key=lambda letter: (-counts[letter], letter))[LETTERS:]), " ")
    pieces.train_from_iterator(
        (normalizer.normalize_str(text).translate(rare) for text in texts),  # pieces.normalizer would wait for the end of the training
        trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False),
    )
    ends = [(token, pieces.token_to_id(token)) for token in (SPECIAL["cls_token"], SPECIAL["sep_token"])]
    pieces.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=max_length, **SPECIAL)


def refit(
    base_dir: Path, texts: Sequence[str], max_length: int, seed: int, machine: Mapping[str, str | int], folder: Path
) -> "tuple[Path, PreTrainedTokenizerBase]":
    """Make folder/base, the encoder of base_dir with a vocabulary of the texts, unless it is there; return it and its tokenizer."""
    made_dir = folder / "base"
    processes = PartialState()
    if not made_dir.exists():
        old = AutoTokenizer.from_pretrained(base_dir)
        tokenizer = fit(texts, max_length, old.pad_token_id)
        set_seed(seed)
        pieces = tokenize(texts, None, tokenizer)
        encoder = AutoModel.from_pretrained(
            base_dir, dtype=torch.float32, attn_implementation=attention(machine, int(pieces.lengths.max()))
        )
        without_dropout(encoder)
        company = cooccurrence.embeddings(pieces, len(tokenizer), encoder.get_input_embeddings().embedding_dim, seed)
        shared = exchange_vocabulary(encoder, old, tokenizer, company)
        log.info("a vocabulary of %s pieces fitted on the texts, %s of them known to the base", f"{len(tokenizer):,}", f"{shared:,}")
        for name, weights in encoder.named_parameters():
            if "pooler" in name:  # the warm-up has no use for it, and several processes wait for all gradients
                weights.requires_grad_(False)
        warm_up(encoder, tokenizer, pieces, seed, machine, folder / "warm_up")
        if processes.is_main_process:
            draft_dir = folder / ".base.partial"
            shutil.rmtree(draft_dir, ignore_errors=True)
            encoder.save_pretrained(draft_dir)
            tokenizer.save_pretrained(draft_dir)
            flush(*draft_dir.iterdir(), draft_dir)
            draft_dir.rename(made_dir)
            shutil.rmtree(folder / "warm_up", ignore_errors=True)
    processes.wait_for_everyone()
    return made_dir, AutoTokenizer.from_pretrained(made_dir, model_max_length=max_length)


def exchange_vocabulary(
    encoder: "PreTrainedModel", old: "PreTrainedTokenizerBase", new: "PreTrainedTokenizerBase", company: NDArray[np.float32]
) -> int:
    """Give the encoder embeddings for `new`: the old ones of equal pieces, else those of their company; return how many were equal.

    company: (pieces of new, width), which is turned so that equal pieces come near their old embeddings (orthogonal Procrustes).
    """
    known = encoder.get_input_embeddings().weight.detach().clone()
    encoder.resize_token_embeddings(len(new), mean_resizing=False)
    vocabulary = old.get_vocab()
    marks_beginnings = any(piece.startswith(BEGINNINGS) for piece in vocabulary)  # else it marks what goes on with a word, by ##
    by_name = {_plain(piece, marks_beginnings): place for piece, place in vocabulary.items()}
    named = {getattr(new, name): getattr(old, f"{name}_id") for name in SPECIAL}
    equal = {
        number: place
        for piece, number in new.get_vocab().items()
        if (place := named.get(piece, by_name.get(_plain(piece, True)))) is not None
    }
    numbers = sorted(equal)  # get_vocab has an order of its own in each process, and the sums below depend on it
    theirs = known[[equal[number] for number in numbers]]
    middle, fresh = known.mean(0), torch.from_numpy(company)
    left, _, right = torch.linalg.svd(fresh[numbers].T @ (theirs - middle))
    weights = middle + (known - middle).std() * fresh @ left @ right
    weights[numbers] = theirs
    with torch.no_grad():
        encoder.get_input_embeddings().weight.copy_(weights)
    encoder.config.pad_token_id = new.pad_token_id
    return len(equal)


def _plain(piece: str, marks_beginnings: bool) -> tuple[str, bool]:
    """Return a piece without its mark, and whether it begins a word."""
    if piece.startswith(BEGINNINGS):
        return piece[1:], True
    if piece.startswith("##"):
        return piece[2:], False
    return piece, not marks_beginnings


class MaskedLanguageModel(nn.Module):
    """An encoder and a head that names hidden pieces, by the embeddings themselves."""

    def __init__(self, encoder: "PreTrainedModel") -> None:
        super().__init__()
        width = encoder.get_input_embeddings().embedding_dim
        self.encoder = encoder
        self.head = nn.Sequential(nn.Linear(encoder.config.hidden_size, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(encoder.config.vocab_size))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, hidden: Tensor) -> Tensor:
        """Return logits (hidden pieces, vocabulary); hidden: (texts, pieces), true where one is to be named."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[hidden]
        return nn.functional.linear(self.head(states), self.encoder.get_input_embeddings().weight, self.bias)


class Hiding(PaddingCollator):
    """Pad, and hide some of the pieces: labels (texts, longest) name those and are -100 elsewhere.

    What is hidden depends on the seed and on the rows of the batch alone, so that a training that goes on hides the same.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", seed: int) -> None:
        super().__init__(tokenizer.pad_token_id)
        self.mask_token_id = tokenizer.mask_token_id
        self.special = torch.tensor(tokenizer.all_special_ids)
        self.pieces = len(tokenizer)
        self.seed = seed

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        batch = super().__call__(items)
        rng = np.random.default_rng([self.seed, *batch["row"].tolist()])
        ids = batch["input_ids"]
        hidden = torch.from_numpy(rng.random(ids.shape) < MASKED) & ~torch.isin(ids, self.special)
        fate = torch.from_numpy(rng.random(ids.shape))
        others = torch.from_numpy(rng.integers(0, self.pieces, ids.shape))
        seen = torch.where(hidden & (fate < 0.8), self.mask_token_id, torch.where(hidden & (fate >= 0.9), others, ids))
        return {**batch, "input_ids": seen, "labels": torch.where(hidden, ids, NO_CLASS)}


class WarmUp(BatchTrainer):
    """The trainer of a MaskedLanguageModel."""

    loss_name = "warm-up without labels"
    remedy = "set train.precision to fp32, or train.vocabulary to keep"

    def total_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        hidden = inputs["labels"] != NO_CLASS
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], hidden=hidden)
        return nn.functional.cross_entropy(logits.float(), inputs["labels"][hidden], reduction="sum")


def warm_up(
    encoder: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Texts,
    seed: int,
    machine: Mapping[str, str | int],
    folder: Path,
) -> None:
    """Teach the encoder to name hidden pieces of the texts; its weights change in place."""
    settings = arguments(
        machine,
        output_dir=str(folder),
        num_train_epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        warmup_steps=0.06,
        seed=seed,
        save_strategy="epoch",
    )
    trainer = WarmUp(
        model=MaskedLanguageModel(encoder),
        args=settings,
        batch_size=BATCH_SIZE,
        train_dataset=texts,
        data_collator=Hiding(tokenizer, seed),
    )
    try:
        train_from_newest(trainer)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise StageError("out of memory in the warm-up: lower train.max_length, or set train.vocabulary to keep") from error
