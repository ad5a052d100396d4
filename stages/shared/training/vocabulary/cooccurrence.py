"""Embeddings of pieces from the company they keep in the texts, in a minute for 150,000 of them.

Positive pointwise mutual information of pieces within a few places of each other, factorised (Levy and Goldberg 2014; contexts smoothed
and the factors weighted as in Levy, Goldberg and Dagan 2015).
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.shared.batches import Texts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WINDOW = 5  # pieces to each side; a neighbour at distance d counts 1 / d
SMOOTHING = 0.75  # power of the contexts' counts, so that rare ones do not look informative


def embeddings(texts: Texts, pieces: int, width: int, seed: int) -> NDArray[np.float32]:
    """Return (pieces, width), with a mean square of 1; pieces that stand alone everywhere are 0."""
    from sklearn.utils.extmath import randomized_svd

    information = _positive_information(_counts(texts, pieces))
    left, strengths, _ = randomized_svd(information, min(width, pieces - 1), random_state=seed)
    found = np.zeros((pieces, width), dtype=np.float32)
    found[:, : len(strengths)] = left * np.sqrt(strengths)
    return found / max(float(np.sqrt(np.square(found).mean())), 1e-12)


def _counts(texts: Texts, pieces: int) -> "csr_array":
    """Count how often two pieces of a text are neighbours, (pieces, pieces), symmetric."""
    from scipy.sparse import coo_array, csr_array

    text = np.repeat(np.arange(len(texts)), texts.lengths)
    counts = csr_array((pieces, pieces), dtype=np.float32)
    for distance in range(1, WINDOW + 1):
        together = text[distance:] == text[:-distance]
        pairs = texts.ids[:-distance][together], texts.ids[distance:][together]
        weights = np.full(len(pairs[0]), 1 / distance, dtype=np.float32)
        counts += coo_array((weights, pairs), shape=(pieces, pieces)).tocsr()
    return counts + counts.T


def _positive_information(counts: "csr_array") -> "csr_array":
    """Exchange counts for log p(piece, context) / (p(piece) p(context)), where that is over 0."""
    from scipy.sparse import csr_array

    pairs = counts.tocoo()
    rows, columns = pairs.coords
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64)
    contexts = totals**SMOOTHING
    information = np.log(pairs.data * contexts.sum() / (totals[rows] * contexts[columns]))
    positive = information > 0
    return csr_array((information[positive].astype(np.float32), (rows[positive], columns[positive])), shape=counts.shape)
