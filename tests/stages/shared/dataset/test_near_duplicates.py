"""Texts that differ in little are found, and only they are."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.shared.dataset.near_duplicates import LEAST, LENGTH, near_pairs, rows_of_band, similarity


def found(texts: list[str], threshold: float, chunk: int = 50) -> set[tuple[int, int]]:
    chunks = (texts[start : start + chunk] for start in range(0, len(texts), chunk))
    return set(near_pairs(chunks, threshold, lambda places: [texts[place] for place in places.tolist()]))


def edited(rng: np.random.Generator, text: str, times: int) -> str:
    """The text with some characters replaced."""
    signs = list(text)
    for place in rng.integers(len(signs), size=times):
        signs[place] = chr(rng.integers(0xAC00, 0xD7A4))
    return "".join(signs)


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.9])
def test_nearly_all_pairs_above_the_threshold_are_found_and_none_below_it(threshold):
    rng = np.random.default_rng(3)
    texts = []
    for _ in range(300):
        text = "".join(chr(code) for code in rng.integers(0xAC00, 0xD7A4, size=rng.integers(40, 160)))
        texts += [text, edited(rng, text, int(rng.integers(1, 6)))]
    alike = {(one, other) for one, other in combinations(range(len(texts)), 2) if similarity(texts[one], texts[other]) >= threshold}
    pairs = found(texts, threshold)
    assert len(alike) > 50
    assert pairs <= alike
    assert len(pairs) >= 0.95 * len(alike)


def test_texts_of_many_like_ones_hang_together_in_a_chain():
    texts = [f"the very same text of some length, number {number}" for number in range(300)]
    linked = {place for pair in found(texts, 0.8) for place in pair}
    assert linked == set(range(300))


def test_a_text_of_a_few_characters_is_near_to_none():
    assert found(["good", "good", "a good", "", "ok"] * 3, 0.1) <= {(2, 7), (7, 12), (2, 12)}


@given(st.lists(st.text(max_size=30), max_size=20), st.integers(1, 7))
def test_any_texts_in_any_chunks_give_the_same_pairs(texts, chunk):
    pairs = found(texts, 0.8, chunk)
    assert pairs == found(texts, 0.8)
    equal = {
        (one, other)
        for one, other in combinations(range(len(texts)), 2)
        if texts[one] == texts[other] and len(texts[one]) >= LEAST + LENGTH - 1
    }
    linked = {place for pair in pairs for place in pair}
    assert {place for pair in equal for place in pair} <= linked


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_a_band_is_as_long_as_can_be_without_missing_pairs(threshold):
    rows = rows_of_band(threshold)
    assert 1 <= rows <= 64
    assert rows_of_band(min(1.0, threshold + 0.1)) >= rows
