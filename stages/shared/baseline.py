"""TF-IDF of words and characters with logistic regression: what a transformer has to beat.

Where a transformer has to learn a language from the texts alone, it is a teacher too: letters tell much about words that are seen once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

MOST_ROWS = 200_000  # that a model is fitted on
EXACT_CLASSES = 10  # with more, logistic regression is fitted by gradient steps: the exact solver would take over 10 GB for 60
FOLDS = 5


def linear_baseline(train: "pd.DataFrame", texts: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return the label ids (texts,) that it gives, fitted on at most MOST_ROWS of the split."""
    predicted: NDArray[np.int64] = _fitted(train, seed).predict(texts)
    return predicted


def out_of_fold_log_probabilities(train: "pd.DataFrame", classes: int, seed: int) -> NDArray[np.float32] | None:
    """Return log probabilities (rows, classes) for the train split, each by a model that has not seen the row.

    None where a class has a single row, or the split a single class.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = np.unique(train["label"], return_counts=True)[1]
    folds = min(FOLDS, counts.min())
    if folds < 2 or len(counts) < 2:
        return None
    probabilities = np.full((len(train), classes), 1e-6)
    for seen, asked in StratifiedKFold(folds, shuffle=True, random_state=seed).split(train["text"], train["label"]):
        model = _fitted(train.iloc[seen], seed)
        probabilities[np.ix_(asked, model.classes_)] += model.predict_proba(train["text"].iloc[asked])
    return np.log(probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


def _fitted(train: "pd.DataFrame", seed: int) -> "Pipeline":
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.pipeline import make_pipeline, make_union

    if len(train) > MOST_ROWS:
        train = train.sample(MOST_ROWS, random_state=seed)
    rare = 2 if len(train) > 1000 else 1
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=rare, token_pattern=r"(?u)\b\w+\b")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=rare)
    if train["label"].nunique() <= EXACT_CLASSES:
        regression = LogisticRegression(C=3.0, max_iter=1000)
    else:
        regression = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=20, random_state=seed)
    return make_pipeline(make_union(words, characters), regression).fit(train["text"], train["label"])
