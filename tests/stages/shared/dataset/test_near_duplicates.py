"""Near duplicates are found, and no other pairs."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.shared.dataset.near_duplicates import MIN_SHINGLES, SHINGLE_LENGTH, near_pairs, rows_of_band, similarity


def found(texts: list[str], threshold: float, chunk: int = 50) -> set[tuple[int, int]]:
    chunks = (texts[start : start + chunk] for start in range(0, len(texts), chunk))
    return set(near_pairs(chunks, threshold, lambda places: [texts[place] for place in places.tolist()]))


def edited(rng: np.random.Generator, text: str, times: int) -> str:
    """Return the text with some characters replaced."""
    characters = list(text)
    for place in rng.integers(len(characters), size=times):
        characters[place] = chr(rng.integers(0xAC00, 0xD7A4))
    return "".join(characters)


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.9])
def test_nearly_all_pairs_above_the_threshold_are_found_and_none_below_it(threshold):
    rng = np.random.default_rng(3)
    texts = []
    for _ in range(300):
        text = "".join(chr(code) for code in rng.integers(0xAC00, 0xD7A4, size=rng.integers(40, 160)))
        texts += [text, edited(rng, text, int(rng.integers(1, 6)))]
    near = {(one, other) for one, other in combinations(range(len(texts)), 2) if similarity(texts[one], texts[other]) >= threshold}
    pairs = found(texts, threshold)
    assert len(near) > 50
    assert pairs <= near
    assert len(pairs) >= 0.95 * len(near)


def test_many_near_duplicates_form_one_connected_group():
    texts = [f"the very same text of some length, number {number}" for number in range(300)]
    linked = {place for pair in found(texts, 0.8) for place in pair}
    assert linked == set(range(300))


def test_a_text_of_a_few_characters_has_no_near_duplicates():
    assert found(["good", "good", "a good", "", "ok"] * 3, 0.1) <= {(2, 7), (7, 12), (2, 12)}


@given(st.lists(st.text(max_size=30), max_size=20), st.integers(1, 7))
def test_any_texts_in_any_chunks_give_the_same_pairs(texts, chunk):
    pairs = found(texts, 0.8, chunk)
    assert pairs == found(texts, 0.8)
    equal = {
        (one, other)
        for one, other in combinations(range(len(texts)), 2)
        if texts[one] == texts[other] and len(texts[one]) >= MIN_SHINGLES + SHINGLE_LENGTH - 1
    }
    linked = {place for pair in pairs for place in pair}
    assert {place for pair in equal for place in pair} <= linked


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_bands_are_as_long_as_the_recall_allows(threshold):
    rows = rows_of_band(threshold)
    assert 1 <= rows <= 64
    assert rows_of_band(min(1.0, threshold + 0.1)) >= rows
