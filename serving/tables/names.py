"""The names of columns: which of them say that a column holds texts or labels.

In: a header and the name that the user gave. Out: positions, the likeliest first.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from serving.tables.labelled import AUTO

MOST_WORDS = 4  # of a name: a longer one is a text
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[^\W\d_A-Za-z]+")  # of a name such as airline_sentiment, reviewText or 감정_대분류


class Kind(NamedTuple):
    """A kind of column. sure: names that settle the question. names: other names in public data sets, the likeliest first.

    words: last words of a name, such as `sentiment` in `airline_sentiment`.
    """

    param: str
    sure: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[str, ...]


TEXT = Kind(
    "text_column",
    ("text", "texts", "문장", "텍스트"),
    (
        *("sentence", "document", "review", "reviewtext", "review_text", "content", "comment", "comment_text", "tweet", "utterance"),
        *("message", "body", "sentences", "reviews", "comments", "tweets", "messages", "리뷰", "댓글", "내용", "발화", "본문"),
    ),
    (
        "text",
        "sentence",
        "document",
        "review",
        "content",
        "comment",
        "tweet",
        "utterance",
        "message",
        "body",
        "문장",
        "리뷰",
        "댓글",
        "본문",
        "글",
    ),
)
LABEL = Kind(
    "label_column",
    ("label", "labels", "라벨", "레이블"),
    (
        *("sentiment", "polarity", "class", "category", "emotion", "target", "score", "rating", "stars"),
        *("감성", "감정", "극성", "정서", "평가", "분류"),
    ),
    (
        "label",
        "sentiment",
        "polarity",
        "class",
        "category",
        "emotion",
        "rating",
        "score",
        "라벨",
        "레이블",
        "감성",
        "감정",
        "극성",
        "정서",
        "분류",
    ),
)


def named(header: Sequence[str], wanted: str, kind: Kind) -> list[int]:
    """Return the positions of the columns that may be meant.

    The wanted name gives its position, in any case if not exactly; a number gives itself.
    `auto` gives that of a sure name, else those of known names, then of known last words.
    """
    if wanted in header:
        return [header.index(wanted)]
    names = [_normal(name) for name in header]
    if wanted != AUTO:
        alike = [place for place, name in enumerate(names) if name == _normal(wanted)]
        return alike or ([int(wanted)] if wanted.isdecimal() and int(wanted) < len(header) else [])
    for name in kind.sure:
        if name in names:
            return [names.index(name)]
    known = [names.index(name) for name in kind.names if name in names]
    others = [place for place in range(len(header)) if place not in known and _ends_in(header[place], kind.words)]
    return known + [place for place in others if kind is LABEL or not _ends_in(header[place].split("_")[0], LABEL.sure)]


def has_known_name(header: Sequence[str], kind: Kind) -> bool:
    """Tell whether a header has a name of the kind, and not only one that ends in a known word, as a text may."""
    return not {*map(_normal, header)}.isdisjoint(kind.sure + kind.names)


def has_sure_name(header: Sequence[str], kind: Kind) -> bool:
    """Tell whether a header has a name that settles which column is meant, whatever its values are."""
    return not {*map(_normal, header)}.isdisjoint(kind.sure)


def names_both(header: Sequence[str], text: str, label: str) -> bool:
    """Tell whether a header names a text column and a label column. text, label: the names that the user gave, or `auto`."""
    return bool(named(header, text, TEXT) and named(header, label, LABEL))


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def _ends_in(name: str, words: Sequence[str]) -> bool:
    """Tell whether a name of few words ends in one of the words, or in its plural. A Hangul word may be the end of a longer one."""
    found = WORD.findall(unicodedata.normalize("NFC", name))
    if not 0 < len(found) <= MOST_WORDS:
        return False
    last = found[-1].casefold()
    return last in words or last.removesuffix("s") in words or (not last.isascii() and last.endswith(tuple(words)))
