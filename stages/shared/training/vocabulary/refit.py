"""Refit: an encoder gets a vocabulary of the texts, where its own vocabulary breaks them into letters.

In: a base model and the train split. Out: a folder with the new encoder and tokenizer. The layers of the transformer stay.
The embeddings of tokens that both vocabularies have stay too; the others start from their co-occurrence in the texts.
Pre-training with masking, on the texts alone and without labels, then fits embeddings and layers to each other.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast, set_seed

from stages.shared.batches import NO_LABEL, PaddingCollator, Texts, tokenize
from stages.shared.errors import StageError
from stages.shared.training.checkpoints import TrainingFolder, flush
from stages.shared.training.machine import Machine
from stages.shared.training.memory import is_out_of_memory
from stages.shared.training.trainer import BatchTrainer, arguments, attention, train_from_newest, without_dropout
from stages.shared.training.vocabulary import cooccurrence

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("refit")

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
WORD_START = ("▁", "Ġ")  # marks of tokens that begin a word
MAX_TOKENS = 16_000
CHARACTERS_A_TOKEN = 40  # characters of the texts for each token, so that the model does not memorize small data
MAX_CHARACTERS = 4_000  # kinds of characters, the most frequent ones; the others become [UNK]
# Share of tokens to predict: 0.4 teaches more per epoch than BERT's 0.15 (Wettig et al. 2023).
# Of these 80 % become [MASK], 10 % a random token, and 10 % stay.
MASKED_SHARE = 0.4
EPOCHS = 2
BATCH_SIZE = 64
LEARNING_RATE = 5e-4
EMBEDDING_RATE = 10.0  # times the classifier's learning rate: new embeddings have further to go than the layers


def fit_tokenizer(texts: Sequence[str], max_length: int, pad_token_id: int = 0) -> "PreTrainedTokenizerBase":
    """Fit byte-pair tokens on the texts, with ▁ before each word; equal texts give equal vocabularies.

    pad_token_id: id of [PAD] in the base model. Ids up to 4 are kept, because RoBERTa counts positions from it.
    The same library also fits unigram tokens, but they differ a little between runs.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    pad, *special = SPECIAL.values()
    special.insert(pad_token_id, pad)
    counts = Counter(character for text in texts for character in normalizer.normalize_str(text))
    size = min(MAX_TOKENS, len(SPECIAL) + min(MAX_CHARACTERS, len(counts)) + sum(map(len, texts)) // CHARACTERS_A_TOKEN)
    by_frequency = sorted(counts, key=lambda character: (-counts[character], character))
    rare = dict.fromkeys(map(ord, by_frequency[MAX_CHARACTERS:]), " ")
    tokenizer.train_from_iterator(
        (normalizer.normalize_str(text).translate(rare) for text in texts),  # tokenizer.normalizer would block until training ends
        trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False),
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in (SPECIAL["cls_token"], SPECIAL["sep_token"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **SPECIAL)


def refit(
    base_dir: Path, texts: Sequence[str], max_length: int, seed: int, machine: Machine, folder: TrainingFolder
) -> "tuple[Path, PreTrainedTokenizerBase]":
    """Make folder.base, the encoder of base_dir with a vocabulary of the texts, unless it exists; return it and its tokenizer."""
    processes = PartialState()
    if not folder.base.exists():
        encoder, tokenizer = _refitted(base_dir, texts, max_length, seed, machine, folder)
        if processes.is_main_process:
            shutil.rmtree(folder.base_draft, ignore_errors=True)
            encoder.save_pretrained(folder.base_draft)
            tokenizer.save_pretrained(folder.base_draft)
            flush(*folder.base_draft.iterdir(), folder.base_draft)
            folder.base_draft.rename(folder.base)
            shutil.rmtree(folder.pretraining, ignore_errors=True)
    processes.wait_for_everyone()
    return folder.base, AutoTokenizer.from_pretrained(folder.base, model_max_length=max_length)


def _refitted(
    base_dir: Path, texts: Sequence[str], max_length: int, seed: int, machine: Machine, folder: TrainingFolder
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Return the encoder with the new vocabulary, pre-trained, and the new tokenizer."""
    old = AutoTokenizer.from_pretrained(base_dir)
    tokenizer = fit_tokenizer(texts, max_length, old.pad_token_id)
    set_seed(seed)
    encoded = tokenize(texts, None, tokenizer)
    encoder = AutoModel.from_pretrained(base_dir, dtype=torch.float32, attn_implementation=attention(machine, int(encoded.lengths.max())))
    without_dropout(encoder)
    embeddings = cooccurrence.embeddings(encoded, len(tokenizer), encoder.get_input_embeddings().embedding_dim, seed)
    shared = exchange_vocabulary(encoder, old, tokenizer, embeddings)
    log.info("fitted a vocabulary of %s tokens on the texts; the base model has %s of them", f"{len(tokenizer):,}", f"{shared:,}")
    for name, parameter in encoder.named_parameters():
        if "pooler" in name:  # pre-training does not use it, and several processes wait for the gradient of every trained parameter
            parameter.requires_grad_(False)
    pretrain(encoder, tokenizer, encoded, seed, machine, folder.pretraining)
    return encoder, tokenizer


def exchange_vocabulary(
    encoder: "PreTrainedModel", old: "PreTrainedTokenizerBase", new: "PreTrainedTokenizerBase", embeddings: NDArray[np.float32]
) -> int:
    """Give the encoder embeddings for the tokens of `new`; return how many tokens both vocabularies have.

    These tokens keep their old embeddings. embeddings: (tokens of new, width), for the others. They are first rotated so that
    the shared tokens come near their old embeddings (orthogonal Procrustes).
    """
    known = encoder.get_input_embeddings().weight.detach().clone()
    encoder.resize_token_embeddings(len(new), mean_resizing=False)
    vocabulary = old.get_vocab()
    marks_starts = any(token.startswith(WORD_START) for token in vocabulary)  # else it marks continuations, by ##
    by_name = {_plain(token, marks_starts): token_id for token, token_id in vocabulary.items()}
    special = {getattr(new, name): getattr(old, f"{name}_id") for name in SPECIAL}
    shared = {
        new_id: old_id
        for token, new_id in new.get_vocab().items()
        if (old_id := special.get(token, by_name.get(_plain(token, True)))) is not None
    }
    new_ids = sorted(shared)  # get_vocab has another order in each process, and the sums below depend on the order
    theirs = known[[shared[new_id] for new_id in new_ids]]
    middle, fresh = known.mean(0), torch.from_numpy(embeddings)
    left, _, right = torch.linalg.svd(fresh[new_ids].T @ (theirs - middle))
    weights = middle + (known - middle).std() * fresh @ left @ right
    weights[new_ids] = theirs
    with torch.no_grad():
        encoder.get_input_embeddings().weight.copy_(weights)
    encoder.config.pad_token_id = new.pad_token_id
    return len(shared)


def _plain(token: str, marks_starts: bool) -> tuple[str, bool]:
    """Return a token without its mark, and whether it begins a word."""
    if token.startswith(WORD_START):
        return token[1:], True
    if token.startswith("##"):
        return token[2:], False
    return token, not marks_starts


class MaskedLanguageModel(nn.Module):
    """An encoder and a head that predicts masked tokens, with the embeddings themselves as output weights."""

    def __init__(self, encoder: "PreTrainedModel") -> None:
        super().__init__()
        width = encoder.get_input_embeddings().embedding_dim
        self.encoder = encoder
        self.head = nn.Sequential(nn.Linear(encoder.config.hidden_size, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(encoder.config.vocab_size))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, masked: Tensor) -> Tensor:
        """Return logits (masked tokens, vocabulary); masked: (texts, tokens), true where a token is to be predicted."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[masked]
        return nn.functional.linear(self.head(states), self.encoder.get_input_embeddings().weight, self.bias)


class MaskingCollator(PaddingCollator):
    """Pad and mask: labels (texts, longest) are the masked tokens, and -100 elsewhere.

    The masking depends on the seed and on the rows of the batch only, so that a resumed training masks the same tokens.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", seed: int) -> None:
        super().__init__(tokenizer.pad_token_id)
        self.mask_token_id = tokenizer.mask_token_id
        self.special = torch.tensor(tokenizer.all_special_ids)
        self.vocabulary_size = len(tokenizer)
        self.seed = seed

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        batch = super().__call__(items)
        rng = np.random.default_rng([self.seed, *batch["row"].tolist()])
        ids = batch["input_ids"]
        masked = torch.from_numpy(rng.random(ids.shape) < MASKED_SHARE) & ~torch.isin(ids, self.special)
        draw = torch.from_numpy(rng.random(ids.shape))
        random_ids = torch.from_numpy(rng.integers(0, self.vocabulary_size, ids.shape))
        masked_ids = torch.where(masked & (draw < 0.8), self.mask_token_id, torch.where(masked & (draw >= 0.9), random_ids, ids))
        return {**batch, "input_ids": masked_ids, "labels": torch.where(masked, ids, NO_LABEL)}


class PretrainingTrainer(BatchTrainer):
    """Train a MaskedLanguageModel."""

    loss_name = "pre-training without labels"
    remedy = "set train.precision to fp32, or train.vocabulary to keep"

    def total_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        masked = inputs["labels"] != NO_LABEL
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], masked=masked)
        return nn.functional.cross_entropy(logits.float(), inputs["labels"][masked], reduction="sum")


def pretrain(
    encoder: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Texts,
    seed: int,
    machine: Machine,
    folder: Path,
) -> None:
    """Train the encoder in place to predict masked tokens of the texts; folder: for the checkpoints."""
    settings = arguments(
        machine,
        output_dir=str(folder),
        num_train_epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        warmup_steps=0.06,  # share of the steps
        seed=seed,
        save_strategy="epoch",
    )
    trainer = PretrainingTrainer(
        model=MaskedLanguageModel(encoder),
        args=settings,
        batch_size=BATCH_SIZE,
        train_dataset=texts,
        data_collator=MaskingCollator(tokenizer, seed),
    )
    try:
        train_from_newest(trainer)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise StageError("out of memory in pre-training: lower train.max_length, or set train.vocabulary to keep") from error
