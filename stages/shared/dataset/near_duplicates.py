"""Search for near duplicates: pairs of texts whose sets of character trigrams have at least a given Jaccard similarity.

In: texts in chunks, and a threshold. Out: pairs of positions.

A chunk gets its MinHash signatures (Broder 1997) at once, in numpy. Of each text, memory keeps a hash per band and a byte per hash
function: 150 bytes. Texts that share a band are candidates. Where their bytes agree too, the similarity is computed exactly,
so every pair that is returned is a pair. A pair at the threshold is found with a probability of at least 95 %, a nearer pair with more.
The exception: hundreds of texts share a long part but are no near duplicates of each other.
Among these the search finds about half of the pairs above the threshold.
Character trigrams do not depend on words, so Korean needs no special case.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE_LENGTH = 3  # characters
MIN_SHINGLES = 5  # of a text: fewer say too little
HASHES = 64
RECALL = 0.95  # share of the pairs at the threshold that are found
TOLERANCE = 0.2  # four standard deviations of a similarity that 64 hashes estimate
MAX_CHARACTERS = 2_000_000  # of the texts whose shingles are in memory at a time, 50 bytes each
MAX_PAIRS = 100_000  # compared at a time
Words = NDArray[np.uint32]
Keys = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

_rng = np.random.default_rng(5)
FACTORS: Words = _rng.integers(2**31, size=HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
OFFSETS: Words = _rng.integers(2**32, size=HASHES, dtype=np.uint32)


def rows_of_band(threshold: float) -> int:
    """Return the number of hashes in a band: the largest that still finds RECALL of the pairs at the threshold."""
    return max(rows for rows in range(1, HASHES + 1) if rows == 1 or 1 - (1 - threshold**rows) ** (HASHES // rows) >= RECALL)


def signatures(texts: Sequence[str], rows: int) -> tuple[Keys, Bytes]:
    """Return the band hashes of each text, (texts, HASHES // rows), and one byte per hash of its signature, (texts, HASHES).

    Both are zeros if a text is too short.
    """
    bands = HASHES // rows
    keys = np.zeros((len(texts), bands), dtype=np.uint64)
    numbers = np.zeros((len(texts), HASHES), dtype=np.uint8)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    long = np.flatnonzero(lengths >= MIN_SHINGLES + SHINGLE_LENGTH - 1)
    if not len(long):
        return keys, numbers
    shingles, starts = _shingles([texts[place] for place in long.tolist()], lengths[long])
    mixed = np.full(len(long), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for number in range(HASHES):
        least = np.minimum.reduceat(shingles * FACTORS[number] + OFFSETS[number], starts)
        numbers[long, number] = least & 0xFF
        mixed = (mixed ^ least) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(29)
        band, last = divmod(number + 1, rows)
        if not last and band <= bands:
            keys[long, band - 1] = mixed | np.uint64(1)
            mixed.fill(0x9E3779B97F4A7C15)
    return keys, numbers


def batches(texts: Sequence[str], characters: int) -> Iterator[Sequence[str]]:
    """Cut a chunk into batches of at most so many characters, or of one longer text."""
    ends = np.cumsum([0, *map(len, texts)])
    begin = 0
    while begin < len(texts):
        end = max(begin + 1, int(np.searchsorted(ends, ends[begin] + characters, side="right")) - 1)
        yield texts[begin:end]
        begin = end


def _shingles(texts: Sequence[str], lengths: NDArray[np.int64]) -> tuple[Words, NDArray[np.int64]]:
    """Return the shingle hashes of all texts as one array, and the position where each text begins."""
    characters = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    hashes = characters[:-2] * np.uint64(0x9E3779B97F4A7C15) + characters[1:-1] * np.uint64(0xC2B2AE3D27D4EB4F) + characters[2:]
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    ends = np.cumsum(lengths)
    across = np.concatenate([ends[:-1] - 2, ends[:-1] - 1])  # shingles that begin in one text and end in the next
    counts = lengths - (SHINGLE_LENGTH - 1)
    starts = np.cumsum(counts) - counts
    return np.delete(hashes >> np.uint64(32), across).astype(np.uint32), starts


def candidates(keys: Keys) -> NDArray[np.int64]:
    """Return pairs of texts that share a band: (pairs, 2), each pair once, the earlier text first.

    Each text is paired with the previous and with the first text of its band, so n texts give at most 2 n pairs.
    """
    found = []
    for band in keys.T:
        order = np.argsort(band, kind="stable")
        order = order[np.searchsorted(band[order], 1) :]
        values = band[order]
        same = np.flatnonzero(values[1:] == values[:-1]) + 1  # positions whose text shares the band with the one before
        if not len(same):
            continue
        begins = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        firsts = begins[np.searchsorted(begins, same, side="right") - 1]
        found += [np.stack([order[same - 1], order[same]], 1), np.stack([order[firsts], order[same]], 1)]
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    return np.unique(np.concatenate(found), axis=0)


def similarity(one: str, other: str) -> float:
    """Return the Jaccard similarity of two texts' sets of trigrams."""
    first, second = ({text[place : place + SHINGLE_LENGTH] for place in range(len(text) - SHINGLE_LENGTH + 1)} for text in (one, other))
    together = len(first & second)
    return together / max(1, len(first) + len(second) - together)


def near_pairs(
    chunks: Iterable[Sequence[str]], threshold: float, texts_at: Callable[[NDArray[np.int64]], Sequence[str]]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of positions of near duplicates. texts_at: returns the texts at the given positions, which are sorted."""
    rows = rows_of_band(threshold)
    signed = [signatures(batch, rows) for chunk in chunks for batch in batches(chunk, MAX_CHARACTERS)]
    if not signed:
        return
    keys, numbers = (np.concatenate(parts) for parts in zip(*signed, strict=True))
    pairs = candidates(keys)
    del keys
    for start in range(0, len(pairs), MAX_PAIRS):
        part = pairs[start : start + MAX_PAIRS]
        part = part[(numbers[part[:, 0]] == numbers[part[:, 1]]).mean(axis=1) >= threshold - TOLERANCE]
        places = np.unique(part)
        text_at = dict(zip(places.tolist(), texts_at(places), strict=True))
        for one, other in part.tolist():
            if similarity(text_at[one], text_at[other]) >= threshold:
                yield one, other
