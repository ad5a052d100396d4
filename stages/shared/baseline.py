"""The linear baseline: TF-IDF of words and characters with logistic regression. A transformer has to beat it.

In: a train split. Out: predictions for other texts, or for the split itself. Where `train` fits a vocabulary, the baseline
is the teacher too: the letters of a rare word say much about it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

MAX_ROWS = 200_000  # of a fit; a larger split is sampled
EXACT_CLASSES = 10  # gradient steps fit more classes: the exact solver would take over 10 GB for 60
FOLDS = 5


def linear_baseline(train: "pd.DataFrame", texts: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return the predicted class ids (texts,)."""
    predicted: NDArray[np.int64] = fit(train, seed).predict(texts)
    return predicted


def out_of_fold_log_probabilities(train: "pd.DataFrame", classes: int, seed: int) -> NDArray[np.float32] | None:
    """Return log probabilities (rows, classes) of the train split; the model of a row is fitted on the other folds.

    None if a class has a single row, or the split a single class.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = np.unique(train["label"], return_counts=True)[1]
    folds = min(FOLDS, counts.min())
    if folds < 2 or len(counts) < 2:
        return None
    probabilities = np.full((len(train), classes), 1e-6)
    for fit_rows, held_out in StratifiedKFold(folds, shuffle=True, random_state=seed).split(train["text"], train["label"]):
        model = fit(train.iloc[fit_rows], seed)
        probabilities[np.ix_(held_out, model.classes_)] += model.predict_proba(train["text"].iloc[held_out])
    return np.log(probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


def fit(train: "pd.DataFrame", seed: int) -> "Pipeline":
    """Fit the baseline on at most MAX_ROWS of the split."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.pipeline import make_pipeline, make_union

    if len(train) > MAX_ROWS:
        train = train.sample(MAX_ROWS, random_state=seed)
    min_count = 2 if len(train) > 1000 else 1
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=min_count, token_pattern=r"(?u)\b\w+\b")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=min_count)
    if train["label"].nunique() <= EXACT_CLASSES:
        regression = LogisticRegression(C=3.0, max_iter=1000)
    else:
        regression = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=20, random_state=seed)
    return make_pipeline(make_union(words, characters), regression).fit(train["text"], train["label"])
