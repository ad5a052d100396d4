"""The data report: one HTML page that a person reads in a minute, without a network.

In: `Contents`, the counts and rows of all sources. Out: the page, which shows warnings first, and the warnings.
Equal data give equal bytes: the page has no time and no path of the machine.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stages.shared.dataset.defects import Defects
from stages.shared.dataset.errors import one_of
from stages.shared.dataset.lengths import Lengths
from stages.shared.dataset.report_histogram import histogram
from stages.shared.dataset.report_tables import tables, words, words_of
from stages.shared.dataset.summary import Leaked, NearDuplicates, Summary
from stages.shared.sources.facts import SourceRead
from stages.shared.splits import SPLITS

TEMPLATE = Path(__file__).with_suffix(".html")
IMBALANCE = 5  # times as many texts in the largest class as in the smallest
TRUNCATED = 0.05  # share of the texts
UNKNOWN = 0.02  # share of the tokens
DUPLICATES = 0.01  # share of the rows
ESCAPES = 0.001  # share of the rows
CONTAINED = 0.05  # share of a split's texts; in reviews and comments, 1 % stand inside a train text by chance
SMALL = 500  # texts of a split
LARGE_GROUP = 0.05  # share of the kept rows
ALWAYS_SMALL_GROUP = 50  # rows


@dataclass(frozen=True)
class Contents:
    """What the page shows. sources: by origin. classes: rows by split and class id. contained: of Summary, empty without a search.

    escapes: preprocess.escapes. smaller_groups: what a person can do to get smaller groups.
    dropped_file, corrections_file: the names of these files.
    """

    summary: Summary
    sources: Mapping[str, SourceRead]
    classes: Mapping[tuple[str, int], int]
    class_names: Sequence[str]
    lengths: Lengths
    defects: Defects
    contained: Mapping[str, float]
    escapes: str
    smaller_groups: Sequence[str]
    dropped_file: str
    corrections_file: str

    @cached_property
    def counts(self) -> dict[str, list[int]]:
        """The rows of each split, by class id."""
        return {split: [self.classes.get((split, label), 0) for label in range(len(self.class_names))] for split in SPLITS}

    @cached_property
    def totals(self) -> dict[str, int]:
        """The rows of each split."""
        return {split: sum(counts) for split, counts in self.counts.items()}


def render(contents: Contents) -> tuple[str, list[str]]:
    """Return the page and its warnings."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    summary, rows = contents.summary, contents.sources["source"].rows
    kept = summary.kept()
    warnings = list(_warnings(_findings(contents), contents))
    page = environment.from_string(TEMPLATE.read_text("utf-8")).render(
        summary=f"{rows:,} rows read from the source, {kept:,} kept.",
        warnings=warnings,
        tiles=[
            ("rows read", rows),
            ("kept", kept),
            *((words_of(reason), count) for reason, count in summary.dropped().items() if count),
        ],
        splits=SPLITS,
        classes=[
            {
                "name": name,
                "cells": [
                    {"count": counts[label], "share": counts[label] / max(1, contents.totals[split])}
                    for split, counts in contents.counts.items()
                ],
            }
            for label, name in enumerate(contents.class_names)
        ],
        totals=list(contents.totals.values()),
        lengths=histogram(contents.lengths),
        tables=[
            table
            for table in tables(
                summary,
                contents.sources,
                contents.class_names,
                dropped_file=contents.dropped_file,
                corrections_file=contents.corrections_file,
            )
            if table["rows"]
        ],
        words=words(summary, contents.class_names),
    )
    return page, warnings


@dataclass(frozen=True)
class Findings:
    """The counts that the warnings rest on. largest, smallest: the train classes, each with its number of texts."""

    rows: int
    kept: int
    dropped: Mapping[str, int]
    missing: Mapping[str, Sequence[str]]
    largest: tuple[str, int]
    smallest: tuple[str, int]
    near_duplicates: NearDuplicates
    largest_group: int
    shared_persons: int
    lost_characters: int
    in_validation_and_test: int
    near_in_validation_and_test: int
    leaked: Leaked


def _findings(contents: Contents) -> Findings:
    summary, names = contents.summary, contents.class_names
    sizes = list(zip(names, contents.counts["train"], strict=True))
    return Findings(
        rows=contents.sources["source"].rows,
        kept=summary.kept(),
        dropped=summary.dropped(),
        missing={
            split: [name for name, count in zip(names, counts, strict=True) if not count] for split, counts in contents.counts.items()
        },
        largest=max(sizes, key=lambda size: size[1]),
        smallest=min(sizes, key=lambda size: size[1]),
        near_duplicates=summary.near_duplicates(),
        largest_group=summary.largest_group(),
        shared_persons=summary.shared_persons(),
        lost_characters=summary.with_lost_characters(),
        in_validation_and_test=summary.in_validation_and_test(),
        near_in_validation_and_test=summary.near_in_validation_and_test(),
        leaked=summary.leaked_rows(),
    )


def _warnings(found: Findings, contents: Contents) -> Iterator[str]:
    """Yield the warnings, the most important first."""
    lengths, dropped, (largest, most), (smallest, least) = contents.lengths, found.dropped, found.largest, found.smallest
    if lengths.unknown_share > UNKNOWN:
        yield f"The base model does not know {lengths.unknown_share:.1%} of the tokens: check that it knows the language of the texts."
    for split, names in found.missing.items():
        if names:
            yield f"{split} has no text of: {', '.join(names)}."
    if most > IMBALANCE * least:
        yield f"The classes are imbalanced: train has {most:,} texts of '{largest}' and {least:,} of '{smallest}'. Judge by macro F1."
    yield from contained_warnings(contents.contained)
    yield from _reading_warnings(contents.sources)
    if found.lost_characters:
        yield f"{found.lost_characters:,} texts hold U+FFFD: a character was lost before the file was written."
    yield from _defect_warnings(contents, found.rows)
    if dropped["conflicting"]:
        yield f"{dropped['conflicting']:,} rows have a text that has several labels in the source."
    yield from _supplied_warnings(found)
    if dropped["duplicate"] > DUPLICATES * found.rows:
        count, share = dropped["duplicate"], dropped["duplicate"] / found.rows
        yield f"{count:,} rows ({share:.1%}) repeat an earlier text. They were dropped, since they would leak into other splits."
    if lengths.truncated > TRUNCATED:
        yield f"{lengths.truncated:.1%} of the texts are longer than train.max_length and will be truncated."
    if found.largest_group > max(ALWAYS_SMALL_GROUP, LARGE_GROUP * found.kept):
        yield (
            f"{found.largest_group:,} rows form one group of linked texts or of one person's texts, and share one split."
            + (f" If that is too many, {one_of(contents.smaller_groups)}." if contents.smaller_groups else "")
        )
    if found.near_duplicates.conflicting_pairs:
        yield f"{found.near_duplicates.conflicting_pairs:,} pairs of near duplicates have two labels."
    if found.near_duplicates.pairs:
        yield f"{found.near_duplicates.pairs:,} pairs of texts are near duplicates. Each pair shares one split."
    if found.near_in_validation_and_test:
        yield (
            f"{found.near_in_validation_and_test:,} pairs of near duplicates have one text in the supplied validation file "
            "and one in the supplied test file."
        )
    if dropped["empty"]:
        yield f"{dropped['empty']:,} rows have no text."
    for split in SPLITS[1:]:
        if contents.totals[split] < SMALL:
            yield _interval(split, contents.totals[split])


def _supplied_warnings(found: Findings) -> Iterator[str]:
    """Yield what the source, a supplied validation file and a supplied test file have in common."""
    if found.leaked.same:
        yield f"{found.leaked.same:,} texts of the source are also in a supplied validation or test file. They were removed from train."
    if found.leaked.near:
        yield (
            f"{found.leaked.near:,} texts of the source are near duplicates of a supplied validation or test file's texts. "
            "They were removed from train."
        )
    if found.leaked.contained:
        yield (
            f"{found.leaked.contained:,} texts of the source stand inside texts of a supplied validation or test file, or contain them. "
            "They were removed from train."
        )
    if found.in_validation_and_test:
        yield (
            f"{found.in_validation_and_test:,} texts of the validation file are also in the test file: "
            "the texts that choose the best epoch also test it."
        )
    if found.shared_persons:
        yield f"{found.shared_persons:,} persons of train also speak in a supplied validation or test file."


def contained_warnings(contained: Mapping[str, float]) -> Iterator[str]:
    """Yield which splits are easier than new texts."""
    for split, share in contained.items():
        if share > CONTAINED:
            yield (
                f"{share:.1%} of the {split} texts stand inside a train text, or contain one: they are easier than new texts. "
                "To keep such texts in one split, set preprocess.containment to group."
            )


def _defect_warnings(contents: Contents, rows: int) -> Iterator[str]:
    """Yield what an export has done to the texts."""
    defects = contents.defects
    if defects.misread:
        yield (
            f"{defects.misread:,} texts hold characters of Windows-1252 that were read as Latin-1 before the file was written. "
            "Cleaning repaired them."
        )
    if defects.escapes > ESCAPES * rows:
        keep = contents.escapes == "keep"
        yield (
            f"{defects.escapes:,} texts write escapes out, such as \\n for a line end. "
            + ("If people did not write them, set preprocess.escapes to resolve." if keep else "Cleaning resolved them.")
        )


def _interval(split: str, texts: int) -> str:
    points = 100 * 1.96 * math.sqrt(0.1 * 0.9 / max(1, texts))
    return f"{split} has {texts:,} texts: it measures an accuracy of 90 % only to ±{points:.1f} points."


def _reading_warnings(sources: Mapping[str, SourceRead]) -> Iterator[str]:
    """Yield what was guessed about the files, where a guess may be wrong."""
    for origin, source in sources.items():
        facts, shown = source.facts, source.facts.as_text()
        if facts.encoding not in ((), ("utf-8",), ("utf-8-sig",)):
            yield f"The {origin} file was read as {shown['encoding']}: check that the texts below look right."
        if facts.quoting == ("none",):
            yield f"Quotes in the {origin} file are part of the texts."
        if facts.quoting == ("twice",):
            yield f"The {origin} file was quoted twice: both layers of quotes were removed."
        if facts.guessed:
            columns = " and ".join(f"'{shown[f'{name}_column']}'" for name in facts.guessed)
            yield f"The {origin} file has no known name for the column of the {shown['guessed']}: {columns} was chosen by its values."
        if facts.other_sheets:
            yield f"Only the sheet '{shown['sheet']}' of the {origin} file was read, not: {shown['other_sheets']}."
        if facts.title_rows:
            yield f"Title rows above the header of the {origin} file were left out: {shown['title_rows']}."
        if facts.header == ("no",):
            yield (
                f"The {origin} file has no header: column {shown['text_column']} is the text, column {shown['label_column']} is the label."
            )
