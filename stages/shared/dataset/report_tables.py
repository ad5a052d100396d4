"""The tables of the data report: the summary of the rows comes in, each table goes out as title, columns and rows of text."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stages.shared.dataset.summary import Summary
from stages.shared.sources.facts import SourceRead

EXAMPLES = 3  # dropped rows for each reason
LISTED = 10  # rows of the other tables
CLASSES = 60  # classes with a list of words
WORDS = 15  # in a list
CHARACTERS = 160  # shown of a text
SHOWN = 32  # characters of a fact: enough of a hash to tell files apart
WORD = re.compile(r"\w[\w'’\u0900-\u0dff\u0e00-\u0eff]*")  # vowel signs of Indian scripts and Thai are part of a word
MEANINGS = {  # of the reasons to drop a row
    "empty": "no text is left after cleaning",
    "corrected": "{corrections} removes the text",
    "ignored_label": "the label is in preprocess.ignore_labels",
    "several_labels": "the labels belong to several classes",
    "conflicting": "the same text has another label elsewhere (preprocess.conflicts)",
    "duplicate": "the same text is earlier in the source (preprocess.duplicate_key)",
    "leaked": "a supplied validation or test file has the text or a near duplicate, or by preprocess.containment a part or a whole of it",
    "sampled_out": "preprocess.max_rows leaves the row out",
}

Table = dict[str, Any]


class Column(NamedTuple):
    """A column of a table. kind: text may wrap anywhere, short does not wrap, number is aligned to the right."""

    name: str
    kind: str = "short"


def tables(
    summary: Summary, sources: Mapping[str, SourceRead], class_names: Sequence[str], *, dropped_file: str, corrections_file: str
) -> list[Table]:
    """Return all tables, also those without rows. dropped_file, corrections_file: the names of these files."""

    def shown(label: int | None) -> str:
        return class_names[label] if label is not None else "-"

    dropped = [
        [words_of(reason), f"{line:,}", _short(text) or "(nothing)", shown(label)]
        for reason, line, text, label in summary.dropped_rows(EXAMPLES)
    ]
    conflicts = [
        [_short(text), ", ".join(f"{shown(label)} {count:,}" for label, count in labels.items())]
        for text, labels in summary.conflicts(LISTED)
    ]
    near_duplicates = [
        [_short(one), shown(first), _short(other), shown(second)] for one, first, other, second in summary.near_duplicate_pairs(LISTED)
    ]
    contained = [[_short(one), first, _short(other), second] for one, first, other, second in summary.contained_pairs(LISTED)]
    leaked = [[f"{line:,}", _short(text), shown(label)] for line, text, label in summary.leaked(LISTED)]
    text, label, line, split = Column("Text", "text"), Column("Label"), Column("Line", "number"), Column("Split")
    return [
        _reasons_table({origin: summary.dropped(origin) for origin in sources}, corrections_file),
        _table("Examples of dropped rows", [Column("Reason"), line, text, label], dropped) | {"note": f"{dropped_file} lists all of them."},
        _table("Conflicting texts", [text, Column("Labels", "text")], conflicts),
        _table(
            "Most repeated texts",
            [text, Column("Rows", "number")],
            [[_short(text), f"{count:,}"] for text, count in summary.most_repeated(LISTED)],
        ),
        _table("Near duplicates", [text, label, Column("Other text", "text"), label], near_duplicates),
        _table("Texts that stand inside another split's texts", [text, split, Column("Text that contains it", "text"), split], contained),
        _table("Removed from train because of a supplied file's text", [line, text, label], leaked),
        _reading_table(sources),
    ]


def _table(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    return {"title": title, "columns": columns, "rows": rows}


def _reasons_table(dropped: Mapping[str, Mapping[str, int]], corrections_file: str) -> Table:
    """Return how many rows each origin lost for each reason."""
    columns = [Column("Reason"), *(Column(origin, "number") for origin in dropped), Column("What it means", "text")]
    rows = [
        [words_of(reason), *(f"{counts[reason]:,}" for counts in dropped.values()), meaning.format(corrections=corrections_file)]
        for reason, meaning in MEANINGS.items()
        if any(counts[reason] for counts in dropped.values())
    ]
    return _table("Dropped rows", columns, rows)


def _reading_table(sources: Mapping[str, SourceRead]) -> Table:
    facts = {origin: source.as_values() for origin, source in sources.items()}
    names = dict.fromkeys(name for values in facts.values() for name in values)
    columns = [Column("Fact"), *(Column(f"{origin} file" if origin != "source" else origin, "text") for origin in sources)]
    rows = [[words_of(name), *(_fact(values.get(name, ""))[:SHOWN] for values in facts.values())] for name in names]
    return _table("How the files were read", columns, rows)


def words_of(name: str) -> str:
    """Return a name of the code as words."""
    return name.replace("_", " ")


def _fact(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _short(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} ..."


def words(summary: Summary, class_names: Sequence[str]) -> list[dict[str, str]]:
    """Return the most frequent words, and the words typical of each class (Monroe et al. 2008, Fightin' Words)."""
    counts = [Counter[str]() for _ in class_names]
    for text, label in summary.texts_of("train"):
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
        typical = sorted(scores, key=lambda word: (-scores[word], word))[:WORDS]
        shown = ", ".join(f"{word} {scores[word]:.1f}" for word in typical) or "none"
        listed.append({"title": f"Typical of {class_name}", "words": shown})
    return listed if everywhere else []


def _first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:WORDS]
