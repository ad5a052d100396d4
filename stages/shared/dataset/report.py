"""The page that shows a data set to a person in a minute: what is wrong with it first, then what is in it. One file, no network.

Equal data give equal bytes: no clock, no path of this machine.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stages.shared.dataset.row_store import RowStore
from stages.shared.splits import SPLITS

TEMPLATE = Path(__file__).with_suffix(".html")
EXAMPLES = 3  # of each reason
LISTED = 10  # duplicates, conflicts, leaks
CLASSES = 60  # whose words are listed
WORDS = 15
CHARACTERS = 160  # of a text that is shown
SHOWN = 32  # characters of a fact, enough of a hash to tell files apart
COLUMNS = 40  # of the histogram
IMBALANCE = 5  # times as many texts in the largest class as in the smallest
TRUNCATED = 0.05  # share of the texts
UNKNOWN = 0.02  # share of the tokens
SMALL = 500  # texts of a split
LARGE_GROUP = 0.05  # share of the kept rows
WORD = re.compile(r"\w[\w'’\u0900-\u0dff\u0e00-\u0eff]*")  # vowel signs of India and Thailand are part of a word
PLAIN = {
    "empty": "no text is left after cleaning",
    "corrected": "data/raw/corrections.csv takes the text out",
    "ignored_label": "the label is in preprocess.ignore_labels",
    "several_labels": "the labels are of several classes",
    "conflicting": "the same text has another label elsewhere (preprocess.conflicts)",
    "duplicate": "the same text stands earlier in the source (preprocess.duplicate_key)",
    "leaked": "the text, or one that is nearly the same, is in a supplied validation or test file",
    "sampled_out": "left out by preprocess.max_rows",
}


@dataclass(frozen=True)
class Lengths:
    """tokens: of each text that was measured (texts,). unknown_share: of all tokens. limit: train.max_length."""

    tokens: np.ndarray
    unknown_share: float
    limit: int

    @property
    def cut(self) -> float:
        """Share of the texts that train cuts."""
        return float((self.tokens > self.limit).mean())

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers that `dvc metrics diff` compares."""
        half, most = (float(np.quantile(self.tokens, share)) for share in (0.5, 0.95))
        return {"median": half, "p95": most, "longest": int(self.tokens.max()), "truncated": self.cut, "unknown": self.unknown_share}


class Column(NamedTuple):
    """kind: text, which may break anywhere, short, which may not, or number."""

    name: str
    kind: str = "short"


def render(
    corpus: RowStore,
    facts: Mapping[str, Mapping[str, Any]],
    classes: Mapping[tuple[str, int], int],
    class_names: Sequence[str],
    lengths: Lengths,
) -> tuple[str, list[str]]:
    """Return the page and what it warns of. facts: of each source; classes: rows of each split and class id."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    totals = {name: sum(classes.get((name, label), 0) for label in range(len(class_names))) for name in SPLITS}
    shares = {(name, label): classes.get((name, label), 0) / max(1, totals[name]) for name in SPLITS for label in range(len(class_names))}
    dropped = corpus.dropped()
    warnings = _warnings(corpus, facts, classes, class_names, totals, lengths)
    page = environment.from_string(TEMPLATE.read_text("utf-8")).render(
        summary=f"{facts['source']['rows']:,} rows read from the source, {corpus.kept():,} kept.",
        warnings=warnings,
        tiles=[
            ("rows read", facts["source"]["rows"]),
            ("kept", corpus.kept()),
            *((reason.replace("_", " "), count) for reason, count in dropped.items() if count),
        ],
        splits=SPLITS,
        classes=[
            {
                "name": class_name,
                "cells": [{"count": classes.get((name, label), 0), "share": shares[name, label]} for name in SPLITS],
            }
            for label, class_name in enumerate(class_names)
        ],
        totals=[totals[name] for name in SPLITS],
        lengths=_histogram(lengths),
        tables=[table for table in _tables(corpus, facts, class_names) if table["rows"]],
        words=_words(corpus, class_names),
    )
    return page, warnings


def _warnings(
    corpus: RowStore,
    facts: Mapping[str, Mapping[str, Any]],
    classes: Mapping[tuple[str, int], int],
    class_names: Sequence[str],
    totals: Mapping[str, int],
    lengths: Lengths,
) -> list[str]:
    rows, dropped = facts["source"]["rows"], corpus.dropped()
    sizes = {name: classes.get(("train", label), 0) for label, name in enumerate(class_names)}
    largest, smallest = max(sizes, key=lambda name: sizes[name]), min(sizes, key=lambda name: sizes[name])
    near, group, persons = corpus.near_counts(), corpus.largest_group(), corpus.shared_persons()
    damaged, both = corpus.damaged(), corpus.in_both()
    missing = {name: [class_name for label, class_name in enumerate(class_names) if not classes.get((name, label))] for name in SPLITS}
    found = [
        (
            lengths.unknown_share > UNKNOWN,
            f"{lengths.unknown_share:.1%} of the tokens are unknown to the base model: is it of this language?",
        ),
        *((names, f"{name} has no text of: {', '.join(names)}.") for name, names in missing.items()),
        (
            sizes[largest] > IMBALANCE * sizes[smallest],
            f"The classes are out of balance: '{largest}' has {sizes[largest]:,} texts to train on, '{smallest}' {sizes[smallest]:,}. "
            "Look at macro F1.",
        ),
        *((True, sentence) for sentence in _guesses(facts)),
        (damaged, f"{damaged:,} texts hold the sign U+FFFD, of characters that were lost before the file was written."),
        (dropped["conflicting"], f"{dropped['conflicting']:,} rows have a text that stands in the source with several labels."),
        (
            dropped["leaked"],
            f"{dropped['leaked']:,} texts of the source are in a supplied validation or test file too, and were taken out of train.",
        ),
        (both, f"{both:,} texts of the validation file are in the test file too: they choose the epoch that is tested on them."),
        (persons, f"{persons:,} persons of train speak in a supplied validation or test file too."),
        (
            dropped["duplicate"] > 0.01 * rows,
            f"{dropped['duplicate']:,} rows ({dropped['duplicate'] / rows:.1%}) repeat an earlier text: split before they were dropped, "
            "they would have leaked.",
        ),
        (lengths.cut > TRUNCATED, f"{lengths.cut:.1%} of the texts are longer than train.max_length and will be cut."),
        (
            group > max(50, LARGE_GROUP * corpus.kept()),
            f"{group:,} rows hang together, by texts that are nearly the same or by one person, and stand in one split: "
            "raise preprocess.near_duplicates if that is too many.",
        ),
        (near["conflicting_pairs"], f"{near['conflicting_pairs']:,} pairs of nearly the same texts have two labels."),
        (near["pairs"], f"{near['pairs']:,} pairs of texts are nearly the same; each stands in one split."),
        (dropped["empty"], f"{dropped['empty']:,} rows have no text."),
        *((totals[name] < SMALL, _interval(name, totals[name])) for name in SPLITS[1:]),
    ]
    return [sentence for holds, sentence in found if holds]


def _interval(name: str, texts: int) -> str:
    points = 100 * 1.96 * math.sqrt(0.1 * 0.9 / max(1, texts))
    return f"{name} has {texts:,} texts: an accuracy of 90 % on it is known to {points:.1f} points only."


def _guesses(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what was guessed of how the files are written, where a guess may be wrong."""
    found = []
    for origin, how in facts.items():
        if how.get("encoding", "utf-8") not in ("utf-8", "utf-8-sig"):
            found.append(f"The {origin} file was read as {how['encoding']}: see that the texts below are what they should be.")
        if how.get("quoting") in ("none", "twice"):
            found.append(
                f"Quotes of the {origin} file {'are characters of the texts' if how['quoting'] == 'none' else 'were taken off twice'}."
            )
        if guessed := how.get("guessed"):
            named = " and ".join(f"'{how[f'{name}_column']}'" for name in guessed.split(" and "))
            found.append(f"No known name told the column of the {guessed} of the {origin} file: {named} was taken for its values.")
        if others := how.get("other_sheets"):
            found.append(f"Of the {origin} file the sheet '{how['sheet']}' was read, not: {others}.")
        if how.get("header") == "no":
            found.append(f"The {origin} file has no header: column {how['text_column']} is the text, {how['label_column']} the label.")
    return found


def _histogram(lengths: Lengths) -> dict[str, Any]:
    """Return the drawing of the texts by their tokens, on a field of 1000 x 240, as bars above a line at y = 206."""
    tokens, limit = lengths.tokens, lengths.limit
    cut = lengths.cut
    end = max(int(np.quantile(tokens, 0.995)), 20)
    end = max(end, limit) if end > limit / 2 else end
    step = math.ceil((end + 1) / COLUMNS)
    counts = np.bincount(np.minimum(tokens // step, COLUMNS - 1), minlength=COLUMNS)
    width = 1000 / COLUMNS
    heights = 186 * counts / counts.max()
    scale = 1000 / (step * COLUMNS)
    limit_x = min(limit * scale, 999)
    longest = "" if limit <= step * COLUMNS else " (beyond the right end)"
    longer = (
        f"{cut:.1%} are longer than train.max_length ({limit:,}) and will be cut"
        if cut
        else f"None is longer than train.max_length ({limit:,})"
    )
    return {
        "sentence": f"Half of the texts have at most {int(np.median(tokens)):,} tokens, 95 % at most {int(np.quantile(tokens, 0.95)):,}, "
        f"the longest {int(tokens.max()):,}. {longer}.",
        "bars": [
            {"x": round(place * width + 1, 1), "y": round(206 - height, 1), "width": round(width - 2, 1), "height": round(height, 1)}
            for place, height in enumerate(heights.tolist())
        ],
        "highest": f"{counts.max():,}",
        "limit": f"{limit:,}{longest}",
        "limit_x": round(limit_x, 1),
        "limit_anchor": "end" if limit_x > 800 else "start",
        "ticks": [
            {"x": round(place * 1000 / 8 + (12 if not place else 0), 1), "label": f"{round(place * step * COLUMNS / 8):,}"}
            for place in range(8)
        ],
    }


def _tables(corpus: RowStore, facts: Mapping[str, Mapping[str, Any]], class_names: Sequence[str]) -> list[dict[str, Any]]:
    def shown(label: int | None) -> str:
        return class_names[label] if label is not None else "-"

    dropped = {origin: corpus.dropped(origin) for origin in facts}
    read = list(dict.fromkeys(name for how in facts.values() for name in how))
    examples = [
        [reason.replace("_", " "), f"{line:,}", _short(text) or "(nothing)", shown(label)]
        for reason, line, text, label in corpus.examples(EXAMPLES)
    ]
    return [
        {
            "title": "Dropped rows",
            "columns": [Column("Reason"), *(Column(origin, "number") for origin in facts), Column("What it means", "text")],
            "rows": [
                [reason.replace("_", " "), *(f"{counts[reason]:,}" for counts in dropped.values()), PLAIN[reason]]
                for reason in PLAIN
                if any(counts[reason] for counts in dropped.values())
            ],
        },
        {
            "title": "Examples of dropped rows",
            "sentence": "All of them are in data/dropped.csv.",
            "columns": [Column("Reason"), Column("Line", "number"), Column("Text", "text"), Column("Label")],
            "rows": examples,
        },
        {
            "title": "Conflicting texts",
            "columns": [Column("Text", "text"), Column("Labels", "text")],
            "rows": [
                [_short(text), ", ".join(f"{shown(label)} {count:,}" for label, count in labels.items())]
                for text, labels in corpus.conflicts(LISTED)
            ],
        },
        {
            "title": "Most repeated texts",
            "columns": [Column("Text", "text"), Column("Rows", "number")],
            "rows": [[_short(text), f"{count:,}"] for text, count in corpus.repeated(LISTED)],
        },
        {
            "title": "Nearly the same texts",
            "columns": [Column("Text", "text"), Column("Label"), Column("Other text", "text"), Column("Label")],
            "rows": [[_short(one), shown(first), _short(other), shown(second)] for one, first, other, second in corpus.alike(LISTED)],
        },
        {
            "title": "Taken out of train: also in a supplied file",
            "columns": [Column("Line", "number"), Column("Text", "text"), Column("Label")],
            "rows": [[f"{line:,}", _short(text), shown(label)] for line, text, label in corpus.leaked(LISTED)],
        },
        {
            "title": "How the files were read",
            "columns": [Column("Fact"), *(Column(f"{origin} file" if origin != "source" else origin) for origin in facts)],
            "rows": [[name.replace("_", " "), *(_fact(how.get(name, ""))[:SHOWN] for how in facts.values())] for name in read],
        },
    ]


def _fact(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} ..."


def _words(corpus: RowStore, class_names: Sequence[str]) -> list[dict[str, str]]:
    """Return the most frequent words, and of each class those bound to it (Monroe et al. 2008, Fightin' Words)."""
    counts = [Counter[str]() for _ in class_names]
    for text, label in corpus.texts_of("train"):
        counts[label].update(set(WORD.findall(text.casefold())))
    everywhere = sum(counts, Counter[str]())
    listed = [{"title": "Most frequent", "words": ", ".join(word for word, _ in _first(everywhere))}]
    prior = sum(everywhere.values())
    for class_name, own in list(zip(class_names, counts, strict=True))[:CLASSES]:
        size, rest = sum(own.values()), prior - sum(own.values())
        scores: dict[str, float] = {}
        for word, count in own.items():
            if count < 2 or not rest:
                continue
            here, there, both = count, everywhere[word] - count, everywhere[word]
            odds = math.log((here + both) / (size + prior - here - both)) - math.log((there + both) / (rest + prior - there - both))
            scores[word] = odds / math.sqrt(1 / (here + both) + 1 / (there + both))
        bound = sorted(scores, key=lambda word: (-scores[word], word))[:WORDS]
        listed.append({"title": f"Bound to {class_name}", "words": ", ".join(f"{word} {scores[word]:.1f}" for word in bound) or "none"})
    return listed if everywhere else []


def _first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:WORDS]
