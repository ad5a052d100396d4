"""Labels are mapped to classes, and rows with labels of several classes are dropped."""

import json

import pytest

from stages.preprocess import PreprocessParams
from stages.shared.dataset.duplicates import ws
from stages.shared.dataset.labels import Labels
from stages.shared.dataset.row_store import Entry, open_row_store
from stages.shared.dataset.summary import Summary
from stages.shared.sources.source import Source
from stages.shared.sources.tables import ReadOptions
from tests.stages.test_preprocess import PARAMS

NEGATIVE = {"anger", "disgust", "fear", "sadness"}


REDUCTIONS = {
    "28 labels": (lambda group, name: name, set(), (36_308, 36_110, 4_548, 4_544, 4_590, 4_583)),
    "ekman": (lambda group, name: group, set(), (39_555, 39_363, 4_946, 4_943, 4_968, 4_962)),
    "three classes": (
        lambda group, name: {"joy": "positive", "neutral": "neutral"}.get(group, "negative" if group in NEGATIVE else None),
        {"surprise"},
        (36_172, 35_999, 4_547, 4_544, 4_539, 4_533),
    ),
}


@pytest.mark.parametrize(("class_of", "ignored", "expected"), REDUCTIONS.values(), ids=REDUCTIONS)
def test_emotions_are_mapped_to_classes_and_rows_of_several_classes_are_dropped(shared_data, class_of, ignored, expected):
    names = (shared_data / "goemotions/labels.txt").read_text("utf-8").split()
    groups = json.loads((shared_data / "goemotions/ekman_mapping.json").read_text("utf-8"))
    group_of = {name: group for group, members in groups.items() for name in members} | {"neutral": "neutral"}
    classes = {name: class_of(group_of[name], name) for name in names}
    values: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        values.setdefault(classes[name] or "", []).append(str(number))
    ignore = values.pop("", [])
    assert {group_of[names[int(number)]] for number in ignore} == ignored
    settings = PreprocessParams(
        **PARAMS | {"labels": list(values), "label_values": list(values.values()), "label_separator": ",", "ignore_labels": ignore}
    )
    found = []
    for part in ("train", "dev", "test"):
        labels = Labels(settings)
        with open_row_store() as store:
            source = Source(shared_data / f"goemotions/{part}.tsv", ReadOptions(labels.is_label), optional=False)
            store.add(
                Entry(
                    "source",
                    "a.tsv",
                    row.line,
                    row.text,
                    *labels.verdict(row.label, source.file, row.line),
                    row.label,
                    key=ws(row.text),
                    person="",
                )
                for row in source.rows()
            )
            found.append(Summary(store.database).kept())
            store.drop_conflicting("drop")
            store.drop_duplicates()
            found.append(Summary(store.database).kept())
    assert tuple(found) == expected
