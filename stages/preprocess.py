"""Turn a file of labelled texts into clean train, validation and test splits.

Reads: the source file, the preprocess section of params.yaml. Writes: three CSVs `text,label` (label = class id) and
metrics/preprocess.json. Never touches the source. Rows read = rows kept + rows dropped by each named reason.
"""

import logging
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field
from tqdm import tqdm

from serving.inference.hashing import file_sha256
from serving.inference.text import clean_text
from stages.shared import aihub, command, params, tables
from stages.shared.classes import ClassParams
from stages.shared.errors import LabelsUnknown, StageError, TooFewTexts
from stages.shared.outputs import write_metrics

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("preprocess")

SPLITS = ("train", "validation", "test")
Share = Annotated[float, Field(gt=0, lt=0.5)]


class PreprocessParams(ClassParams):
    model_config = ConfigDict(extra="forbid")

    source: str
    text_column: str
    label_column: str
    validation_size: Share
    test_size: Share
    max_rows: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True)
class Paths(command.Paths):
    source: Annotated[Path, "labelled texts: CSV, TSV, JSONL, Parquet or AI Hub JSON"]
    train: Annotated[Path, "split to write"]
    validation: Annotated[Path, "split to write"]
    test: Annotated[Path, "split to write"]
    metrics: Annotated[Path, "JSON to write"]


def run(settings: PreprocessParams, source: Path, split_files: dict[str, Path], metrics_file: Path) -> None:
    """Read, clean, drop, sample, split, write."""
    rows, facts = read_rows(source, settings)
    rows["text"] = [clean_text(text) for text in _progress(rows["text"], "cleaning")]
    rows, dropped = drop_unusable(rows)
    rows, dropped["sampled_out"] = sample(rows, settings.max_rows, settings.seed)
    refuse_small_classes(source, rows, settings.class_names)
    split_of = split(rows, settings.validation_size, settings.test_size, settings.seed)
    frames = {name: rows[split_of == name] for name in SPLITS}

    kept = sum(len(frame) for frame in frames.values())
    assert facts["rows"] == kept + sum(dropped.values()), "rows read = rows kept + rows dropped"
    warn_of_missing_classes(frames, settings.class_names)
    tables.write_splits({split_files[name]: frame for name, frame in frames.items()})
    write_metrics(metrics_file, _metrics(facts, frames, dropped, settings.class_names))
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items() if count) or "none dropped"
    sizes = ", ".join(f"{name} {len(frame):,}" for name, frame in frames.items())
    log.info("%s rows read, %s kept (%s), %s", f"{facts['rows']:,}", f"{kept:,}", reasons, sizes)


def warn_of_missing_classes(frames: "dict[str, pd.DataFrame]", class_names: tuple[str, ...]) -> None:
    """Name the classes that a split lacks, which happens where few persons share all texts of a class."""
    for split_name, frame in frames.items():
        missing = [name for number, name in enumerate(class_names) if not (frame["label"] == number).any()]
        if missing:
            log.warning("%s has no text of: %s", split_name, ", ".join(missing))


def read_rows(source: Path, settings: PreprocessParams) -> "tuple[pd.DataFrame, dict[str, object]]":
    """Read the source into columns text, label (class id), group; and the facts of how it was read.

    group: rows of one group stay on one side of the split; the person of an AI Hub dialogue, else empty.
    """
    import pandas as pd

    wanted = {settings.text_column: "preprocess.text_column", settings.label_column: "preprocess.label_column"}
    if source.suffix.lower() == ".json":
        content, encoding = aihub.read_json(source)
        if not isinstance(content, list) or aihub.is_corpus(content):
            return _aihub_rows(source, content, settings, encoding)
        table = tables.records_table(source, content, wanted, {"format": "json", "encoding": encoding})
    else:
        table = tables.read_source(source, wanted)
    if settings.aihub_target != "polarity":
        raise StageError(f"preprocess.aihub_target is {settings.aihub_target!r}: {source} is no AI Hub corpus, set it to polarity")
    labels = _label_ids(source, table.columns[settings.label_column], settings)
    rows = pd.DataFrame({"text": table.columns[settings.text_column], "label": labels, "group": ""})
    return rows, _facts(source, len(rows), **table.facts)


def _aihub_rows(source: Path, content: object, settings: PreprocessParams, encoding: str) -> "tuple[pd.DataFrame, dict[str, object]]":
    import pandas as pd

    if len(settings.class_names) != 2 and settings.aihub_target == "polarity":
        raise StageError(f"preprocess.labels has {len(settings.labels)} classes: aihub_target polarity has two; or set aihub_target")
    if settings.aihub_target == "polarity":
        log.info(
            "AI Hub polarity: joy is '%s', the other five groups are '%s'",
            settings.labels[settings.joy_id],
            settings.labels[1 - settings.joy_id],
        )
    dialogues = aihub.parse_corpus(source, content)
    rows = pd.DataFrame(
        {
            "text": [dialogue.text for dialogue in dialogues],
            "label": [settings.id_by_emotion[dialogue.emotion] for dialogue in dialogues],
            "group": [dialogue.profile for dialogue in dialogues],
        }
    )
    return rows, _facts(source, len(rows), format="aihub", encoding=encoding)


def _facts(source: Path, rows: int, **how: str) -> dict[str, object]:
    shown = ", ".join(f"{key} {value}" for key, value in how.items())
    log.info("%s read as %s", source, shown)
    return {"rows": rows, "sha256": file_sha256(source), **how}


def _label_ids(source: Path, labels: list[str], settings: PreprocessParams) -> list[int]:
    ids = {label: settings.label_id(label) for label in set(labels)}
    unknown = Counter(label for label in labels if ids[label] is None)
    if unknown:
        raise LabelsUnknown(source, dict(unknown.most_common()), settings.labels)
    return [number for label in labels if (number := ids[label]) is not None]


def duplicate_key(text: str) -> str:
    """Return what two texts share when they are the same to a reader: NFKC, case folded, one blank between words."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def drop_unusable(rows: "pd.DataFrame") -> "tuple[pd.DataFrame, dict[str, int]]":
    """Drop empty texts, every row of a text with two labels, and all but the first row of a duplicate.

    Returns the rows left with a column key, and the rows dropped by reason.
    """
    filled = rows[rows["text"] != ""].copy()
    filled["key"] = [duplicate_key(text) for text in _progress(filled["text"], "finding duplicates")]
    consistent = filled[filled.groupby("key")["label"].transform("nunique") == 1]
    kept = consistent.drop_duplicates("key")
    return kept, {
        "empty": len(rows) - len(filled),
        "conflicting": len(filled) - len(consistent),
        "duplicate": len(consistent) - len(kept),
    }


def sample(rows: "pd.DataFrame", max_rows: int, seed: int) -> "tuple[pd.DataFrame, int]":
    """Keep at most max_rows rows (0: all), each class by its share; return them and how many were left out.

    The choice does not depend on the order of the rows.
    """
    if max_rows == 0 or len(rows) <= max_rows:
        return rows, 0
    shuffled = rows.sort_values("key").sample(frac=1, random_state=seed)
    # The n-th of a class of size N stands at (n + 1/2) / N: cutting that order anywhere keeps the shares.
    place = (shuffled.groupby("label").cumcount() + 0.5) / shuffled.groupby("label")["key"].transform("size")
    chosen = place.sort_values(kind="stable").index[:max_rows]
    return rows.loc[rows.index.isin(chosen)], len(rows) - max_rows


def refuse_small_classes(source: Path, rows: "pd.DataFrame", class_names: tuple[str, ...]) -> None:
    """Raise TooFewTexts for classes with too few texts, or persons, to stand in all three splits."""
    members = _group_names(rows).groupby(rows["label"]).nunique()
    small = {name: int(members.get(number, 0)) for number, name in enumerate(class_names) if members.get(number, 0) < len(SPLITS)}
    if small:
        raise TooFewTexts(source, small, needed=len(SPLITS))


def split(rows: "pd.DataFrame", validation_size: float, test_size: float, seed: int) -> "pd.Series":
    """Name the split of each row: stratified by class, groups kept together, the same for any order of the rows.

    Iterative stratification (Sechidis et al. 2011): the class with the fewest groups left goes first, and each of its groups
    to the split that wants most of it. Sizes are shares of each class, rounded, at least one in each split.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    groups_of_label, labels_of_group = _memberships(rows)
    wanted = {label: _wanted(len(groups), validation_size, test_size) for label, groups in groups_of_label.items()}
    first = {label: dict(counts) for label, counts in wanted.items()}
    split_of_group: dict[str, str] = {}
    while groups_of_label:
        label = min(groups_of_label, key=lambda label: (len(groups_of_label[label]), label))
        groups = sorted(groups_of_label.pop(label))
        for group in (groups[place] for place in rng.permutation(len(groups))):
            name = max(reversed(SPLITS), key=lambda name: _need(wanted, first, label, labels_of_group[group], name))
            split_of_group[group] = name
            for other in labels_of_group[group]:
                wanted[other][name] -= 1
                groups_of_label.get(other, set()).discard(group)
    return _group_names(rows).map(split_of_group)


Wanted = dict[int, dict[str, int]]  # class id -> split -> groups


def _need(wanted: Wanted, first: Wanted, label: int, labels: set[int], name: str) -> tuple[float, float]:
    """Return the share of its groups that a split still lacks: of this class, and summed over all classes of the group."""
    return wanted[label][name] / first[label][name], sum(wanted[other][name] / first[other][name] for other in labels)


def _wanted(count: int, validation_size: float, test_size: float) -> dict[str, int]:
    test = min(max(1, round(count * test_size)), count - 2)
    validation = min(max(1, round(count * validation_size)), count - test - 1)
    return {"train": count - test - validation, "validation": validation, "test": test}


def _memberships(rows: "pd.DataFrame") -> tuple[dict[int, set[str]], dict[str, set[int]]]:
    """Return the groups of each class and the classes of each group."""
    groups_of_label: dict[int, set[str]] = {}
    labels_of_group: dict[str, set[int]] = {}
    for group, label in zip(_group_names(rows), rows["label"], strict=True):
        groups_of_label.setdefault(label, set()).add(group)
        labels_of_group.setdefault(group, set()).add(label)
    return groups_of_label, labels_of_group


def _group_names(rows: "pd.DataFrame") -> "pd.Series":
    return rows["group"].where(rows["group"] != "", rows["key"])


def _metrics(
    facts: dict[str, object], frames: "dict[str, pd.DataFrame]", dropped: dict[str, int], class_names: tuple[str, ...]
) -> dict[str, object]:
    counts = {name: frame["label"].value_counts() for name, frame in frames.items()}
    return {
        "source": facts,
        "rows": {name: len(frame) for name, frame in frames.items()},
        "dropped": dropped,
        "classes": {
            class_name: {name: int(counts[name].get(number, 0)) for name in SPLITS} for number, class_name in enumerate(class_names)
        },
    }


def _progress(texts: "pd.Series", what: str) -> Iterable[str]:
    return tqdm(texts, desc=what, unit=" rows", disable=len(texts) < 20_000 or not sys.stderr.isatty())


def main() -> None:
    """Wire flags and params."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "preprocess", PreprocessParams)
        run(settings, paths.source, {name: getattr(paths, name) for name in SPLITS}, paths.metrics)


if __name__ == "__main__":
    main()
