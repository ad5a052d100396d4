"""How well a tokenizer knows a language: the share of pieces that say nothing.

A vocabulary of another language breaks words into single letters or [UNK]; a model on top of it learns little.
"""

import logging
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNKNOWN_LIMIT = 0.02  # of all pieces; English on an English vocabulary is under 0.001, Korean on it 0.085
SINGLE_CHARACTER_LIMIT = 0.4  # of all pieces; English on an English vocabulary is about 0.1, Korean on it over 0.8
TEXTS = 5_000  # are enough to tell


def measure(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> dict[str, float]:
    """Return the shares of unknown and of single-character pieces among all pieces of the (first 5,000) texts.

    Punctuation, digits and ideographs do not count as single characters: each is a word of its own in good vocabularies too.
    """
    pieces = [piece for text in list(texts)[:TEXTS] for piece in tokenizer.tokenize(text)]
    single = sum(_is_lone_letter(piece) for piece in pieces)
    total = max(1, len(pieces))
    return {"unknown_share": pieces.count(tokenizer.unk_token) / total, "single_character_share": single / total}


def _is_lone_letter(piece: str) -> bool:
    core = piece.removeprefix("##").lstrip("▁Ġ")
    return len(core) == 1 and core.isalpha() and not unicodedata.name(core, "").startswith("CJK")


def warn(log: logging.Logger, shares: dict[str, float]) -> None:
    """Warn loudly when the vocabulary does not cover the language of the texts, and say what to do."""
    if shares["unknown_share"] <= UNKNOWN_LIMIT and shares["single_character_share"] <= SINGLE_CHARACTER_LIMIT:
        return
    log.warning(
        "THE BASE MODEL DOES NOT KNOW THE LANGUAGE OF THESE TEXTS: %.1f %% of the tokenizer's pieces are unknown (limit %.0f %%) and "
        "%.1f %% single characters (limit %.0f %%). Expect a poor model. Set base_model.source to an encoder of that language "
        "(for Korean e.g. hub:klue/roberta-base@<commit>, or path:<folder>), and compare with the linear baseline in the report.",
        100 * shares["unknown_share"],
        100 * UNKNOWN_LIMIT,
        100 * shares["single_character_share"],
        100 * SINGLE_CHARACTER_LIMIT,
    )
