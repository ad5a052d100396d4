"""Coverage tells a vocabulary that knows the language from one that breaks its words into letters."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from stages.shared.training.vocabulary import coverage


def test_another_language_gets_a_warning_and_the_right_one_does_not(tiny_base: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base, model_max_length=32)
    known = coverage.measure(tokenizer, ["the film was very good", "we love the food, 10 of 10!"])
    assert not coverage.needs_refit(known, "auto", 100_000)
    assert not caplog.records
    shares = coverage.measure(tokenizer, ["정말 재미있는 영화였어요", "배우들의 연기가 별로였다", "다시는 보고 싶지 않아요"])
    assert shares["unknown_share"] > 0.9
    assert not coverage.needs_refit(shares, "auto", 100)
    assert "DOES NOT KNOW THE LANGUAGE" in caplog.text
    assert "base_model.source" in caplog.text
    assert "100 texts are too few to fit a vocabulary on: it needs 2,000" in caplog.text


def test_korean_vocabulary_with_syllables_as_endings_is_good_and_one_of_jamo_is_poor(tiny_base: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["[UNK]", "영화", "##는", "정말", "좋", "##았", "##고", "음악", "##도", "##다"]
    words = Tokenizer(models.WordPiece({token: token_id for token_id, token in enumerate(tokens)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = ["영화는 정말 좋았고 음악도 좋았다"]
    korean = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    assert not coverage.is_poor(coverage.measure(korean, texts))
    assert coverage.is_poor(coverage.measure(AutoTokenizer.from_pretrained(tiny_base), texts))


@pytest.mark.parametrize(
    ("unknown", "single", "choice", "texts", "expected"),
    [
        (0.09, 0.8, "auto", 2_000, True),
        (0.09, 0.8, "auto", 1_999, False),
        (0.0, 0.8, "auto", 2_000, True),
        (0.001, 0.1, "auto", 1_000_000, False),
        (0.001, 0.1, "refit", 10, True),
        (0.09, 0.8, "keep", 1_000_000, False),
    ],
)
def test_auto_refits_if_coverage_is_poor_and_texts_are_many(unknown: float, single: float, choice: str, texts: int, expected: bool) -> None:
    shares = {"unknown_share": unknown, "single_character_share": single}
    assert coverage.needs_refit(shares, choice, texts) is expected
