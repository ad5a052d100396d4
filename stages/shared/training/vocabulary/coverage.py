"""Coverage: how well the base model's tokenizer knows the language of the texts.

In: a tokenizer and texts. Out: the shares of tokens that say nothing, and the decision to fit a vocabulary.
A vocabulary of another language breaks words into single letters or [UNK], and a model on top of it learns little.
"""

import logging
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

log = logging.getLogger("coverage")

UNKNOWN_TOKENS = ("[UNK]", "<unk>")
UNKNOWN_LIMIT = 0.02  # of all tokens; on an English vocabulary English has under 0.001, Korean 0.085
SINGLE_CHARACTER_LIMIT = 0.4  # of all tokens; on an English vocabulary English has about 0.1, Korean over 0.8
WHOLE_WORDS = ("CJK", "HANGUL SYLLABLE", "HIRAGANA", "KATAKANA")  # Unicode names of characters that can be a word or an ending
MEASURED_TEXTS = 5_000  # suffice for the shares
MIN_TEXTS = 2_000  # to fit a vocabulary on
REMEDY = "Set base_model.source to an encoder of that language (for Korean e.g. hub:klue/roberta-base@<commit>, or path:<folder>)"


class Tokenizes(Protocol):
    """What this module needs of a tokenizer."""

    unk_token: str | None

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""


class FileTokenizer:
    """The tokenizer of a tokenizer.json, without transformers."""

    def __init__(self, file: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self.unk_token = next((token for token in UNKNOWN_TOKENS if self._tokenizer.token_to_id(token) is not None), None)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)


def measure(tokenizer: Tokenizes, texts: Sequence[str]) -> dict[str, float]:
    """Return the shares of unknown and of single-character tokens in the first 5,000 texts.

    Punctuation, digits, ideographs and syllables do not count as single characters: good vocabularies have them as tokens too.
    A vocabulary without Korean breaks syllables into jamo; one without Japanese lacks most ideographs.
    """
    tokens = [token for text in list(texts)[:MEASURED_TEXTS] for token in tokenizer.tokenize(text)]
    single = sum(_is_lone_letter(token) for token in tokens)
    total = max(1, len(tokens))
    return {"unknown_share": sum(token == tokenizer.unk_token for token in tokens) / total, "single_character_share": single / total}


def _is_lone_letter(token: str) -> bool:
    core = token.removeprefix("##").lstrip("▁Ġ")
    return len(core) == 1 and core.isalpha() and not unicodedata.name(core, "").startswith(WHOLE_WORDS)


def is_poor(shares: dict[str, float]) -> bool:
    """Tell whether too many tokens say nothing."""
    return shares["unknown_share"] > UNKNOWN_LIMIT or shares["single_character_share"] > SINGLE_CHARACTER_LIMIT


def needs_refit(shares: dict[str, float], choice: str, texts: int) -> bool:
    """Decide whether to fit a vocabulary on the texts, and log why; choice: auto, keep or refit."""
    measured = (
        f"{shares['unknown_share']:.1%} of the base model's tokens are unknown (limit {UNKNOWN_LIMIT:.0%}) and "
        f"{shares['single_character_share']:.1%} are single characters (limit {SINGLE_CHARACTER_LIMIT:.0%})"
    )
    if choice == "refit" or (choice == "auto" and is_poor(shares) and texts >= MIN_TEXTS):
        log.warning("A VOCABULARY IS FITTED ON THE TEXTS: %s. %s where you can: it knows more text than you have", measured, REMEDY)
        return True
    if is_poor(shares):
        few = f". {texts:,} texts are too few to fit a vocabulary on: it needs {MIN_TEXTS:,}" if choice == "auto" else ""
        log.warning(
            "THE BASE MODEL DOES NOT KNOW THE LANGUAGE OF THESE TEXTS: %s%s. Expect a poor model. %s, "
            "and compare with the linear baseline in the report",
            measured, few, REMEDY,
        )  # fmt: skip
    return False
