"""Search for contained texts: pairs of texts of which one stands, character by character, as a part of the other.

In: a way to read the texts in chunks. Out: pairs of positions, the contained text first.

A rolling hash (Karp and Rabin 1987) gives the hash of any run of characters at the cost of two lookups.
The search reads the texts three times: it counts all runs of RUN characters, notes the rarest run of each text, and looks for these runs.
Where a run is found, the hash of the whole text decides, once for all texts of equal length whose run begins at the same place.
Two texts with the same 64 bits are taken as equal.
A text whose rarest run occurs only once is a part of no other, so most texts are never looked for.
Memory keeps 40 bytes of each text that is looked for, and 80 MB for the counts.
A search by characters does not depend on words, so languages without spaces need no special case.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.shared.dataset.near_duplicates import batches

MIN_LETTERS = 20  # of a contained text, which are four English words: shorter ones stand in unrelated texts too
WIDE = 0x2E80  # characters from here on, as of Korean, Chinese and Japanese, say as much as two letters
RUN = MIN_LETTERS // 2  # characters: no contained text has fewer
MAX_CHARACTERS = 500_000  # of the texts that are in memory at a time, 100 bytes each
MAX_CANDIDATES = 1_000_000  # compared at a time
SLOT_BITS = 24  # of the counts; runs that share a slot share a count
FACTOR = 0x9E3779B97F4A7C15  # of the rolling hash, odd
INVERSE = pow(FACTOR, -1, 2**64)
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]


class Batch:
    """Some texts, one after the other. first: the position of the first text. starts, ends: (texts,) places of its characters.

    places, runs: where a run of RUN characters of one text begins, and its hash. owners: (characters,) the text of each character.
    """

    def __init__(self, texts: Sequence[str], first: int) -> None:
        self.first = first
        lengths = np.array(list(map(len, texts)), dtype=np.int64)
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        self.owners = np.repeat(np.arange(len(texts)), lengths)
        self._codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
        count = len(self._codes)
        powers = np.cumprod(np.full(count, FACTOR, dtype=np.uint64))
        self._inverses = np.cumprod(np.full(count, INVERSE, dtype=np.uint64))
        self._sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(self._codes * powers)])
        places = np.arange(count)
        self.places = places[places + RUN <= self.ends[self.owners]]
        self.runs = self.hashes(self.places, RUN)

    def hashes(self, places: Places, lengths: Places | int) -> Hashes:
        """Return the hashes of the runs of characters that begin at `places`."""
        return (self._sums[places + lengths] - self._sums[places]) * self._inverses[places]

    def letters(self) -> Places:
        """Return the length of each text in letters."""
        letters = np.concatenate([[0], np.cumsum(1 + (self._codes >= WIDE))])
        return letters[self.ends] - letters[self.starts]


class Parts(NamedTuple):
    """The texts to look for. positions: where they stand among all texts. lengths: their characters. hashes: of the whole texts.

    runs, offsets: the hash of the rarest run of each text, and where in the text it begins.
    """

    positions: Places
    runs: Hashes
    offsets: Places
    lengths: Places
    hashes: Hashes


class Wanted:
    """The texts to look for, by their shape: rarest run, its offset, and length. Texts of a template share few shapes.

    runs, offsets, lengths: of each shape, sorted. positions, keys: of each text, sorted by key, which mixes the shape and the hash.
    """

    def __init__(self, parts: Parts) -> None:
        order = np.lexsort((parts.lengths, parts.offsets, parts.runs))
        runs, offsets, lengths = parts.runs[order], parts.offsets[order], parts.lengths[order]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = (runs[1:] != runs[:-1]) | (offsets[1:] != offsets[:-1]) | (lengths[1:] != lengths[:-1])
        self.runs, self.offsets, self.lengths = runs[is_first], offsets[is_first], lengths[is_first]
        keys = _keys(np.cumsum(is_first) - 1, parts.hashes[order])
        by_key = np.argsort(keys)
        self.positions, self.keys = parts.positions[order][by_key], keys[by_key]
        self.has_slot = np.zeros(2**SLOT_BITS, dtype=bool)
        self.has_slot[_slots(self.runs)] = True


def _keys(shapes: Places, hashes: Hashes) -> Hashes:
    return hashes + shapes.astype(np.uint64) * np.uint64(FACTOR)


def contained_pairs(read: Callable[[], Iterable[Sequence[str]]], longest: int) -> Iterator[Places]:
    """Yield arrays of (contained text, text that contains it), (pairs, 2), each pair once.

    read: reads all texts from the beginning. longest: texts of so many characters or more are cut, and are looked for in no other.
    """
    counts = np.zeros(2**SLOT_BITS, dtype=np.uint32)
    for batch in _hashed(read()):
        np.add.at(counts, _slots(batch.runs), np.uint32(1))
    found = [_parts(batch, counts, longest) for batch in _hashed(read())]
    del counts
    if not found:
        return
    wanted = Wanted(Parts._make(np.concatenate(values) for values in zip(*found, strict=True)))
    del found
    for batch in _hashed(read()):
        yield _pairs(batch, wanted)


def _hashed(chunks: Iterable[Sequence[str]]) -> Iterator[Batch]:
    first = 0
    for chunk in chunks:
        for texts in batches(chunk, MAX_CHARACTERS):
            yield Batch(texts, first)
            first += len(texts)


def _slots(runs: Hashes) -> Places:
    return (runs >> np.uint64(64 - SLOT_BITS)).astype(np.int64)


def _parts(batch: Batch, counts: NDArray[np.uint32], longest: int) -> Parts:
    """Return the texts whose rarest run occurs more than once, which another text may hold."""
    lengths = batch.ends - batch.starts
    texts = np.flatnonzero(lengths >= RUN)
    begins = np.searchsorted(batch.owners[batch.places], texts)
    offsets = batch.places - batch.starts[batch.owners[batch.places]]
    # The count in the high bits, the offset in the low ones: the least value is the rarest run.
    rarest = np.minimum.reduceat(counts[_slots(batch.runs)].astype(np.uint64) << np.uint64(32) | offsets.astype(np.uint64), begins)
    is_part = (rarest >> np.uint64(32) > 1) & (batch.letters()[texts] >= MIN_LETTERS) & (lengths[texts] < longest)
    texts, chosen = texts[is_part], (rarest[is_part] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    starts = batch.starts[texts]
    return Parts(texts + batch.first, batch.hashes(starts + chosen, RUN), chosen, lengths[texts], batch.hashes(starts, lengths[texts]))


def _pairs(batch: Batch, wanted: Wanted) -> Places:
    """Return the pairs of a text to look for and a text of the batch that contains it."""
    chosen = wanted.has_slot[_slots(batch.runs)]
    places, runs = batch.places[chosen], batch.runs[chosen]
    firsts = np.searchsorted(wanted.runs, runs)
    counts = np.searchsorted(wanted.runs, runs, side="right") - firsts
    ends = np.cumsum(counts)
    cuts = np.searchsorted(ends, np.arange(0, counts.sum(), MAX_CANDIDATES), side="right")
    found = [np.empty((0, 2), dtype=np.int64)]
    for begin, end in pairwise([*cuts.tolist(), len(places)]):
        shapes = _ranges(firsts[begin:end], counts[begin:end])
        where = np.repeat(places[begin:end], counts[begin:end])
        starts, texts = where - wanted.offsets[shapes], batch.owners[where]
        fits = (starts >= batch.starts[texts]) & (starts + wanted.lengths[shapes] <= batch.ends[texts])
        shapes, starts, texts = shapes[fits], starts[fits], texts[fits]
        keys = _keys(shapes, batch.hashes(starts, wanted.lengths[shapes]))
        first = np.searchsorted(wanted.keys, keys)
        equal = np.searchsorted(wanted.keys, keys, side="right") - first
        parts, wholes = wanted.positions[_ranges(first, equal)], np.repeat(texts, equal) + batch.first
        others = parts != wholes
        found.append(np.unique(np.stack([parts[others], wholes[others]], axis=1), axis=0))
    return np.unique(np.concatenate(found), axis=0)


def _ranges(firsts: Places, counts: Places) -> Places:
    """Return the numbers from each first, as many as its count, one after the other."""
    return np.arange(counts.sum()) + np.repeat(firsts - np.cumsum(counts) + counts, counts)
