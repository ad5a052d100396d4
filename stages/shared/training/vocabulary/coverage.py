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
WORDS = ("CJK", "HANGUL SYLLABLE", "HIRAGANA", "KATAKANA")  # characters that good vocabularies hold as words and endings
TEXTS = 5_000  # are enough to tell
FEWEST_TEXTS = 2_000  # to fit a vocabulary on


def measure(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> dict[str, float]:
    """Return the shares of unknown and of single-character pieces among all pieces of the (first 5,000) texts.

    Punctuation, digits, ideographs and syllables do not count as single characters: each is a word or an ending of its own in good
    vocabularies too. A vocabulary without Korean breaks syllables into jamo, one without Japanese lacks most ideographs.
    """
    pieces = [piece for text in list(texts)[:TEXTS] for piece in tokenizer.tokenize(text)]
    single = sum(_is_lone_letter(piece) for piece in pieces)
    total = max(1, len(pieces))
    return {"unknown_share": pieces.count(tokenizer.unk_token) / total, "single_character_share": single / total}


def _is_lone_letter(piece: str) -> bool:
    core = piece.removeprefix("##").lstrip("▁Ġ")
    return len(core) == 1 and core.isalpha() and not unicodedata.name(core, "").startswith(WORDS)


def is_poor(shares: dict[str, float]) -> bool:
    """Tell whether a vocabulary says too little of the texts."""
    return shares["unknown_share"] > UNKNOWN_LIMIT or shares["single_character_share"] > SINGLE_CHARACTER_LIMIT


def asks_for_refit(log: logging.Logger, shares: dict[str, float], choice: str, texts: int) -> bool:
    """Decide whether a vocabulary is to be fitted on the texts (choice: auto, keep, refit), and say so and why."""
    measured = (
        f"{shares['unknown_share']:.1%} of the tokenizer's pieces are unknown (limit {UNKNOWN_LIMIT:.0%}) and "
        f"{shares['single_character_share']:.1%} single characters (limit {SINGLE_CHARACTER_LIMIT:.0%})"
    )
    other = "Set base_model.source to an encoder of that language (for Korean e.g. hub:klue/roberta-base@<commit>, or path:<folder>)"
    if choice == "refit" or (choice == "auto" and is_poor(shares) and texts >= FEWEST_TEXTS):
        log.warning("A VOCABULARY IS FITTED ON THE TEXTS: %s. %s where you can: it has seen more text than yours", measured, other)
        return True
    if is_poor(shares):
        few = f", and {texts:,} texts are too few to fit a vocabulary on ({FEWEST_TEXTS:,})" if choice == "auto" else ""
        log.warning(
            "THE BASE MODEL DOES NOT KNOW THE LANGUAGE OF THESE TEXTS: %s%s. Expect a poor model. %s, "
            "and compare with the linear baseline in the report.",
            measured, few, other,
        )  # fmt: skip
    return False
