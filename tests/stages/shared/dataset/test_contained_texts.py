"""A text that stands inside another is found, and no other pair."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.shared.dataset import contained_texts
from stages.shared.dataset.contained_texts import MIN_LETTERS, WIDE, contained_pairs

LONGEST = 2_000


def found(texts: list[str], chunk: int = 50, longest: int = LONGEST) -> set[tuple[int, int]]:
    arrays = list(contained_pairs(lambda: (texts[start : start + chunk] for start in range(0, len(texts), chunk)), longest))
    pairs = [tuple(pair) for array in arrays for pair in array.tolist()]
    assert len(pairs) == len(set(pairs)), "each pair once"
    return set(pairs)


def expected(texts: list[str], longest: int = LONGEST) -> set[tuple[int, int]]:
    letters = [sum(2 if ord(character) >= WIDE else 1 for character in text) for text in texts]
    long = {place for place, text in enumerate(texts) if letters[place] >= MIN_LETTERS and len(text) < longest}
    return {(one, other) for one, other in permutations(range(len(texts)), 2) if one in long and texts[one] in texts[other]}


SENTENCE = "the soup of the day was cold and nobody ever came to say sorry"


@pytest.mark.parametrize(
    ("texts", "pairs"),
    [
        ([SENTENCE, "the soup of the day was cold"], {(1, 0)}),
        (["was cold and nobody ever came", SENTENCE, "and nobody ever came to say"], {(0, 1), (2, 1)}),
        ([SENTENCE, SENTENCE[4:50], SENTENCE[4:30]], {(1, 0), (2, 0), (2, 1)}),
        ([SENTENCE, SENTENCE], {(0, 1), (1, 0)}),
        ([SENTENCE, "the soup, of the day, was cold"], set()),
        ([SENTENCE, "the soup of the day"], set()),
        ([SENTENCE, "the soup of the day "], {(1, 0)}),
        (["배우들 연기가 정말 좋았고 음악도 훌륭했다", "연기가 정말 좋았고 음악도"], {(1, 0)}),
        (["배우들 연기가 정말 좋았고 음악도 훌륭했다", "연기가 정말 좋았고"], set()),
        (["俳優の演技が本当に素晴らしくて音楽も良かった", "演技が本当に素晴らしくて"], {(1, 0)}),
        ([], set()),
        (["", "good", ""], set()),
    ],
    ids=[
        "part",
        "two parts",
        "nested",
        "equal",
        "punctuation",
        "19 letters",
        "20 letters",
        "Korean",
        "short",
        "no spaces",
        "none",
        "empty",
    ],
)
def test_part_of_another_text_is_found_if_it_is_long_enough(texts: list[str], pairs: set[tuple[int, int]]) -> None:
    assert found(texts) == pairs == expected(texts)


SIGNS = st.sampled_from(["ab", "abc", "가나", "ab가 ", "x𝒳"])


@given(st.data(), st.integers(1, 9))
def test_any_texts_in_any_chunks_give_the_pairs_of_a_plain_search(data: st.DataObject, chunk: int) -> None:
    alphabet = data.draw(SIGNS)
    texts = data.draw(st.lists(st.text(alphabet, max_size=40), max_size=12))
    for _ in range(data.draw(st.integers(0, 6)) if texts else 0):
        text = data.draw(st.sampled_from(texts))
        begin = data.draw(st.integers(0, len(text)))
        texts.append(data.draw(st.sampled_from(["", "a", "가"])) + text[begin : begin + data.draw(st.integers(8, 40))])
    assert found(texts, chunk) == expected(texts)


def test_texts_of_one_repeated_sign_are_found_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contained_texts, "MAX_CANDIDATES", 7)
    monkeypatch.setattr(contained_texts, "MAX_CHARACTERS", 100)
    texts = ["z" * length for length in (0, 19, 20, 21, 30, 30, 64)]
    assert found(texts) == expected(texts)


def test_texts_that_share_a_count_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contained_texts, "SLOT_BITS", 1)
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("abcd "), 60)) for _ in range(50)]
    texts += [text[int(rng.integers(0, 30)) :] for text in texts]
    assert found(texts) == expected(texts)
    assert len(found(texts)) >= 50


def test_cut_text_is_looked_for_in_no_other() -> None:
    assert found(["z" * 60, "z" * 50, "z" * 49], longest=50) == {(2, 0), (2, 1)}


def test_texts_of_a_template_are_looked_for_once_for_each_shape() -> None:
    count = 1_000
    same = np.zeros(count, dtype=np.int64)
    parts = contained_texts.Parts(np.arange(count), same.astype(np.uint64), same, same + 30, np.arange(count, dtype=np.uint64))
    wanted = contained_texts.Wanted(parts)
    assert (len(wanted.runs), len(wanted.positions)) == (1, count)
