"""First embeddings of new tokens, from their co-occurrence in the texts; 150,000 texts take a minute.

In: tokenized texts. Out: an embedding of each token. Positive pointwise mutual information of tokens that stand near each other is
factorised (Levy and Goldberg 2014). Contexts are smoothed and factors weighted as in Levy, Goldberg and Dagan 2015.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.shared.batches import Texts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WINDOW = 5  # tokens to each side; a neighbour at distance d counts 1 / d
SMOOTHING = 0.75  # power of the contexts' counts, so that rare contexts do not look informative


def embeddings(texts: Texts, vocabulary_size: int, width: int, seed: int) -> NDArray[np.float32]:
    """Return embeddings (vocabulary_size, width) with a mean square of 1; a token that never has a neighbour gets 0."""
    from sklearn.utils.extmath import randomized_svd

    information = _positive_information(_counts(texts, vocabulary_size))
    left, strengths, _ = randomized_svd(information, min(width, vocabulary_size - 1), random_state=seed)
    found = np.zeros((vocabulary_size, width), dtype=np.float32)
    found[:, : len(strengths)] = left * np.sqrt(strengths)
    return found / max(float(np.sqrt(np.square(found).mean())), 1e-12)


def _counts(texts: Texts, vocabulary_size: int) -> "csr_array":
    """Count how often two tokens of a text are neighbours: (vocabulary_size, vocabulary_size), symmetric."""
    from scipy.sparse import coo_array, csr_array

    text = np.repeat(np.arange(len(texts)), texts.lengths)
    counts = csr_array((vocabulary_size, vocabulary_size), dtype=np.float32)
    for distance in range(1, WINDOW + 1):
        in_one_text = text[distance:] == text[:-distance]
        pairs = texts.ids[:-distance][in_one_text], texts.ids[distance:][in_one_text]
        weights = np.full(len(pairs[0]), 1 / distance, dtype=np.float32)
        counts += coo_array((weights, pairs), shape=counts.shape).tocsr()
    return counts + counts.T


def _positive_information(counts: "csr_array") -> "csr_array":
    """Replace each count by log p(token, context) / (p(token) p(context)) where that is over 0, else by 0."""
    from scipy.sparse import csr_array

    pairs = counts.tocoo()
    rows, columns = pairs.coords
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64)
    contexts = totals**SMOOTHING
    information = np.log(pairs.data * contexts.sum() / (totals[rows] * contexts[columns]))
    positive = information > 0
    return csr_array((information[positive].astype(np.float32), (rows[positive], columns[positive])), shape=counts.shape)
