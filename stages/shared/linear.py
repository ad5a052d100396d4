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

MOST_ROWS = 200_000  # that the baseline is fitted on
EXACT_CLASSES = 10  # with more, logistic regression is fitted by gradient steps: the exact solver would take over 10 GB for 60
FOLDS = 5


def linear_baseline(train: "pd.DataFrame", texts: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return the label ids (texts,) that it gives, fitted on at most 200,000 rows."""
    if len(train) > MOST_ROWS:
        train = train.sample(MOST_ROWS, random_state=seed)
    predicted: NDArray[np.int64] = _pipeline(train, seed).fit(train["text"], train["label"]).predict(texts)
    return predicted


def opinions(train: "pd.DataFrame", classes: int, seed: int) -> NDArray[np.float32]:
    """Return log probabilities (rows, classes) for the train split, each by a model that has not seen the row."""
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    probabilities = np.full((len(train), classes), 1e-6)
    present = np.unique(train["label"])
    probabilities[:, present] += cross_val_predict(_pipeline(train, seed), train["text"], train["label"], cv=folds, method="predict_proba")
    return np.log(probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


def _pipeline(train: "pd.DataFrame", seed: int) -> "Pipeline":
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.pipeline import make_pipeline, make_union

    rare = 2 if len(train) > 1000 else 1
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=rare, token_pattern=r"(?u)\b\w+\b")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=rare)
    if train["label"].nunique() <= EXACT_CLASSES:
        regression = LogisticRegression(C=3.0, max_iter=1000)
    else:
        regression = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=20, random_state=seed)
    return make_pipeline(make_union(words, characters), regression)
