"""Keys of texts go from strict to loose, and stay short."""

import pytest

from stages.shared.dataset.duplicates import KEYS, LONGEST, short


@pytest.mark.parametrize(
    ("other", "equal_by"),
    [
        ("A  good film!", ["ws", "nfkc", "alnum"]),
        ("a GOOD film!", ["nfkc", "alnum"]),
        ("a good \ufb01lm", ["alnum"]),
        ("a bad film!", []),
    ],
)
def test_texts_have_equal_keys_from_one_key_on(other, equal_by):
    assert [name for name, key in KEYS.items() if key("A good film!") == key(other)] == equal_by


def test_long_keys_are_cut_and_still_differ():
    one, other = "a" * 9_000, "a" * 9_001
    assert short(one) != short(other)
    assert len(short(one)) == LONGEST + 32
    assert short("a" * LONGEST) == "a" * LONGEST
