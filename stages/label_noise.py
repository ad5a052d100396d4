"""The stage label_noise: list the texts whose label looks wrong, the most suspicious first, so that a person can check them.

Reads: the splits, the base model's folder, the label_noise section of params.yaml and the class names.
Writes: data/label_issues.csv, metrics/label_noise.json, and all counts in data/label_issues.json.
The rows of the CSV fit into data/raw/corrections.csv as they are.
`label_noise.folds: 0` switches the stage off.

A logistic regression on text vectors of the base model judges each text; it is fitted on the other folds.
Confident learning (Northcutt et al. 2021, cleanlab) then separates wrong labels from hard texts.
"""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field
from tqdm import tqdm

from stages.shared import command, params
from stages.shared.classes import read_class_names
from stages.shared.errors import StageError
from stages.shared.outputs import atomic_files, write_metrics
from stages.shared.splits import read_split
from stages.shared.spreadsheet import escape_formula

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

log = logging.getLogger("label_noise")

COMPARED = ("checked", "issues")
COLUMNS = ("text", "label", "given", "split", "quality")  # label: the suggested class; quality: probability of the present label
BATCH_SIZE = 64  # texts of similar length
REGULARIZATION = 0.01  # C; ten times as much finds one changed label fewer in the sample


def _not_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("one fold leaves no texts to learn from: set 2 or more, or 0 to switch the stage off")
    return folds


class LabelNoiseParams(params.Section):
    folds: Annotated[int, Field(ge=0, le=20), AfterValidator(_not_one)]
    """Folds of the cross-validation that finds labels that look wrong (about 300 texts a second). They are listed in
    data/label_issues.csv. 0 switches it off.
    """
    max_length: Annotated[int, Field(ge=3)]
    """Maximum number of tokens of a text; longer texts are truncated."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of the folds."""


@dataclass(frozen=True)
class Paths(command.Paths):
    train: Annotated[Path, "split"]
    validation: Annotated[Path, "split"]
    test: Annotated[Path, "split"]
    classes: Annotated[Path, "JSON of the class names in id order"]
    base: Annotated[Path, "folder of the base model"]
    issues: Annotated[Path, "CSV to write"]
    metrics: Annotated[Path, "JSON to write: the figures that one compares"]
    details: Annotated[Path, "JSON to write: all figures"]


def run(settings: LabelNoiseParams, class_names: Sequence[str], paths: Paths) -> None:
    """Judge every label, and write the labels that look wrong."""
    import pandas as pd

    splits = {name: read_split(getattr(paths, name), class_names) for name in ("train", "validation", "test")}
    rows = pd.concat([frame.assign(split=name) for name, frame in splits.items()], ignore_index=True)
    issues = find_issues(rows, settings, paths.base) if settings.folds else rows.iloc[:0].assign(suggested=0, quality=0.0)
    with atomic_files(paths.issues) as (draft,), draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in issues.itertuples():
            names = class_names[row.suggested], class_names[row.label]
            writer.writerow([escape_formula(row.text), *map(escape_formula, names), row.split, f"{row.quality:.4f}"])
    counts = {name: int((issues["split"] == name).sum()) for name in splits}
    by_class = {name: int((issues["label"] == number).sum()) for number, name in enumerate(class_names)}
    figures = {"checked": len(rows) if settings.folds else 0, "issues": counts, "classes": by_class}
    write_metrics(paths.metrics, paths.details, figures, COMPARED)
    if settings.folds:
        log.info("%s of %s labels look wrong: see %s", f"{len(issues):,}", f"{len(rows):,}", paths.issues)


def find_issues(rows: "pd.DataFrame", settings: LabelNoiseParams, base: Path) -> "pd.DataFrame":
    """Return the rows whose label looks wrong, the most suspicious first, with the columns suggested (class id) and quality.

    Raises StageError if a class has fewer texts than there are folds.
    """
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = rows["label"].to_numpy()
    fewest = int(rows["label"].value_counts().min())
    if fewest < 2:
        raise StageError("label_noise: the smallest class has a single text: add texts, or set label_noise.folds to 0")
    if fewest < settings.folds:
        raise StageError(f"label_noise.folds is {settings.folds}, but the smallest class has {fewest} texts: set it to {fewest} at most")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARIZATION, max_iter=1000, random_state=settings.seed))
    folds = StratifiedKFold(settings.folds, shuffle=True, random_state=settings.seed)
    vectors = embed(rows["text"].tolist(), base, settings.max_length)
    probabilities = cross_val_predict(model, vectors, labels, cv=folds, method="predict_proba")
    order = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    suspicious = rows.iloc[order].assign(suggested=probabilities[order].argmax(axis=1), quality=probabilities[order, labels[order]])
    return suspicious[suspicious["suggested"] != suspicious["label"]]


def embed(texts: Sequence[str], base: Path, max_length: int) -> "NDArray[np.float32]":
    """Return the mean of the last hidden states of each text: (texts, width)."""
    import numpy as np
    import torch
    from transformers import AutoModel

    from stages.shared.batches import load_tokenizer, tokenize

    tokenizer = load_tokenizer(base, max_length, "label_noise.max_length")
    model = AutoModel.from_pretrained(base).eval()
    encoded = tokenize(texts, None, tokenizer)
    vectors = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    with tqdm(total=len(texts), desc="embedding", unit=" texts", disable=None) as bar, torch.inference_mode():
        for batch in encoded.sorted_batches(BATCH_SIZE, tokenizer.pad_token_id):
            mask = batch["attention_mask"]
            states, mask = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state, mask.unsqueeze(-1)
            vectors[batch["row"]] = ((states * mask).sum(1) / mask.sum(1)).numpy()
            bar.update(len(mask))
    return vectors


def main() -> None:
    """Read flags and params, then run the stage."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "label_noise", LabelNoiseParams)
        run(settings, read_class_names(paths.classes), paths)


if __name__ == "__main__":
    main()
