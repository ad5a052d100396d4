"""The stage preprocess: clean labelled texts and split them into train, validation and test.

Reads: the source (a file or a folder of shards), optional validation and test files, corrections, and the preprocess section of
params.yaml.
Writes: three splits as CSV `text,label` (label = class id), the class names, the data report and the dropped rows;
metrics/preprocess.json, and all figures in data/report.json.
The sources stay unchanged. Rows read = rows kept + rows dropped for each named reason.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from stages.shared import command, params
from stages.shared.classes import write_class_names
from stages.shared.dataset import report
from stages.shared.dataset.defects import Defects
from stages.shared.dataset.duplicates import KEYS
from stages.shared.dataset.errors import GroupsTooLarge, TooFewTexts
from stages.shared.dataset.labels import Corrections
from stages.shared.dataset.lengths import token_lengths
from stages.shared.dataset.links import Containment, Links
from stages.shared.dataset.reading import Reading, ReadingParams, with_found_labels
from stages.shared.dataset.row_store import Conflicts, RowStore, open_row_store
from stages.shared.dataset.splitting import needed, split, without_large
from stages.shared.dataset.summary import Summary
from stages.shared.errors import FileUnreadable
from stages.shared.outputs import atomic_files, write_metrics
from stages.shared.sources.facts import SourceRead
from stages.shared.sources.source import has_no_rows
from stages.shared.splits import SPLITS

log = logging.getLogger("preprocess")

COMPARED = ("rows",)
Share = Annotated[float, Field(gt=0, lt=0.5)]


class PreprocessParams(ReadingParams):
    model_config = ConfigDict(extra="forbid")

    source: str
    """Labelled texts: CSV, TSV, JSON lines, JSON, Parquet or XLSX; the AI Hub corpus; or a folder of such files. The text formats may
    also be .gz.
    """
    validation_source: str
    """A file that is the validation split as it stands. Train loses the texts that are in it. `data/raw/none.csv`: split it off the
    source.
    """
    test_source: str
    """A file that is the test split as it stands. Train and validation lose the texts that are in it. `data/raw/none.csv`: split it off
    the source.
    """
    labels_source: str
    """A file with a label on each line, in the order of the texts of the source. A `.txt` source then has a text on each line.
    `data/raw/none.csv`: the labels stand in the source.
    """
    conflicts: Conflicts
    """What happens to a text with several labels. `drop`: drop all its rows. `majority`: keep the most frequent label, none if two
    labels are equally frequent. `keep_first`: keep the first row.
    """
    near_duplicates: Annotated[float, Field(ge=0, le=1)]
    """Share of equal character trigrams (Jaccard similarity) from which two texts stay in one split. 0 switches the search off."""
    containment: Containment
    """What happens to a text of 20 letters or more that stands, character by character, inside another. A Korean, Chinese or Japanese
    character counts as two letters. `report`: count such validation and test texts, and warn. `group`: both texts stay in one split.
    """
    near_duplicates_limit: Annotated[int, Field(ge=0)]
    """Rows above which the searches for near duplicates and for contained texts are off, because their time and memory grow."""
    validation_size: Share
    """Share of the texts in the validation split. It chooses the best epoch, calibrates the scores, and decides which engines may serve."""
    test_size: Share
    """Share of the texts in the test split. 150 texts give an interval of +-5 points, so take more if you have them."""
    max_rows: Annotated[int, Field(ge=0)]
    """Size of a seeded, stratified sample of the source. 0 takes all rows."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of the split and of the sample."""

    @property
    def larger_classes(self) -> list[str]:
        """What a person can do if a class has too few texts, but for more rows."""
        remedies = ["raise preprocess.max_rows"] * (self.max_rows > 0) + self.smaller_groups
        if self.aihub_target != "polarity":
            remedies.append("take fewer classes (preprocess.aihub_target)")
        elif len(self.class_names) > 2:
            remedies.append("leave the class out: name it in preprocess.ignore_labels and not in preprocess.labels")
        return remedies

    @property
    def smaller_groups(self) -> list[str]:
        """What a person can do to get smaller groups of texts that share a split."""
        near = ["raise preprocess.near_duplicates"] if 0 < self.near_duplicates < 1 else []
        return near + ["set preprocess.containment to report"] * (self.containment == "group")


class LengthParams(params.Section):
    """The param of train that the report needs."""

    model_config = ConfigDict(extra="ignore")

    max_length: int


@dataclass(frozen=True)
class Paths(command.Paths):
    source: Annotated[Path, "labelled texts: CSV, TSV, JSONL, Parquet, XLSX or AI Hub corpus, or a folder of them"]
    corrections: Annotated[Path, "CSV text,label of corrected labels, or a header-only file"]
    labels_source: Annotated[Path, "file with a label for each text of the source, or a header-only file"]
    validation_source: Annotated[Path, "file with the rows of the validation split, or a header-only file"]
    test_source: Annotated[Path, "file with the rows of the test split, or a header-only file"]
    train: Annotated[Path, "split to write"]
    validation: Annotated[Path, "split to write"]
    test: Annotated[Path, "split to write"]
    classes: Annotated[Path, "JSON to write: the class names in id order"]
    tokenizer: Annotated[Path, "tokenizer.json of the base model, for the lengths in the report"]
    dropped: Annotated[Path, "CSV of the dropped rows to write"]
    report: Annotated[Path, "HTML page to write"]
    metrics: Annotated[Path, "JSON to write: the figures that one compares"]
    details: Annotated[Path, "JSON to write: all figures"]

    @property
    def sources(self) -> dict[str, Path]:
        """The files to read, by origin."""
        return {"source": self.source, "validation": self.validation_source, "test": self.test_source}


def run(settings: PreprocessParams, paths: Paths, max_length: int) -> None:
    """Read, clean, drop, sample, split and write.

    max_length: the number of tokens at which `train` truncates a text, for the report.
    """
    labels = {} if has_no_rows(paths.labels_source) else {"source": paths.labels_source}
    settings = with_found_labels(settings, paths.source, labels.get("source"))
    with open_row_store() as rows:
        summary = Summary(rows.database)
        corrections = Corrections(paths.corrections, settings, KEYS[settings.duplicate_key])
        reading = Reading(rows, settings, corrections)
        with timed("reading and cleaning"):
            read = {origin: reading.read(origin, file, labels.get(origin)) for origin, file in paths.sources.items()}
        sources = {origin: source for origin, source in read.items() if source}
        corrections.report()
        drop(rows, settings)
        is_searched = link(rows, summary.kept(), settings)
        for origin in sources:
            if not summary.kept(origin):
                raise FileUnreadable(paths.sources[origin], f"has no text left ({_reasons(summary, origin)})", "give another file")
        with timed("splitting"):
            sample_and_split(rows, settings, paths.source, supplied=sources)

        contents = measure(summary, sources, settings, reading.defects, paths, max_length, is_searched=is_searched)
        with timed("reporting"):
            page, warnings = report.render(contents)
        with timed("writing"):
            write_outputs(rows, paths, settings.class_names, page)
        write_metrics(paths.metrics, paths.details, _metrics(contents) | {"corrections": corrections.counts}, COMPARED)
        for origin, source in sources.items():
            reasons = _reasons(summary, origin)
            log.info("%s: %s rows read, %s kept (%s)", origin, f"{source.rows:,}", f"{summary.kept(origin):,}", reasons)
    if warnings:
        log.info("warnings in %s: %d. The first: %s", paths.report, len(warnings), warnings[0])
    log.info(", ".join(f"{name} {count:,}" for name, count in contents.totals.items()))


def measure(
    summary: Summary,
    sources: dict[str, SourceRead],
    settings: PreprocessParams,
    defects: Defects,
    paths: Paths,
    max_length: int,
    *,
    is_searched: bool,
) -> report.Contents:
    """Count what the report and the metrics show, and warn; is_searched: whether contained texts were searched."""
    classes = summary.classes()
    warn_of_missing_classes(classes, settings.class_names)
    with timed("counting tokens"):
        lengths = token_lengths(summary, paths.tokenizer, max_length)
    contained = summary.contained() if is_searched else {}
    for warning in report.contained_warnings(contained):
        log.warning("%s", warning)
    return report.Contents(
        summary, sources, classes, settings.class_names, lengths, defects, contained, settings.escapes, settings.smaller_groups,
        dropped_file=paths.dropped.name, corrections_file=paths.corrections.name,
    )  # fmt: skip


def write_outputs(rows: RowStore, paths: Paths, class_names: tuple[str, ...], page: str) -> None:
    """Write the splits, the class names, the dropped rows and the report: all, or after an error none."""
    outputs = (paths.train, paths.validation, paths.test, paths.classes, paths.dropped, paths.report)
    with atomic_files(*outputs) as drafts:
        *splits, class_file, dropped, page_file = drafts
        for name, draft in zip(SPLITS, splits, strict=True):
            rows.write(name, draft)
        write_class_names(class_names, class_file)
        rows.write_dropped(class_names, dropped)
        page_file.write_text(page, "utf-8")


def _reasons(summary: Summary, origin: str) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in summary.dropped(origin).items() if count) or "none dropped"


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Log the duration of a step, at the level DEBUG."""
    start = time.perf_counter()
    yield
    log.debug("%s took %.2f s", step, time.perf_counter() - start)


def drop(rows: RowStore, settings: PreprocessParams) -> None:
    """Drop conflicting, duplicate and leaked rows."""
    with timed("finding duplicates and conflicts"):
        rows.drop_conflicting(settings.conflicts)
        rows.drop_duplicates()
        rows.drop_leaked()


def link(rows: RowStore, count: int, settings: PreprocessParams) -> bool:
    """Find near duplicates and contained texts, unless there are too many rows. Return whether the search ran. count: the rows."""
    if count > settings.near_duplicates_limit:
        limit = f"{settings.near_duplicates_limit:,}"
        log.warning("no search for near and contained texts: there are more than %s rows (preprocess.near_duplicates_limit)", limit)
        return False
    links = Links(rows.database)
    if settings.near_duplicates:
        with timed("finding near duplicates"):
            links.find_near_duplicates(settings.near_duplicates)
    with timed("finding contained texts"):
        links.find_contained(settings.containment)
    return True


def sample_and_split(rows: RowStore, settings: PreprocessParams, source: Path, supplied: Mapping[str, object]) -> None:
    """Sample the rows and assign each to a split; raise TooFewTexts or GroupsTooLarge if that cannot be done.

    supplied: the origins with rows; a validation or test file takes no rows from the source.
    """
    rows.sample(settings.max_rows, settings.seed)
    shares = {name: 0.0 if name in supplied else getattr(settings, f"{name}_size") for name in SPLITS[1:]}
    groups = rows.groups()
    sizes, least = groups.of_each_class(), needed(shares)
    small = {name: sizes.get(number, 0) for number, name in enumerate(settings.class_names) if sizes.get(number, 0) < least}
    if small:
        raise TooFewTexts(source, small, least, settings.larger_classes)
    rest, grown = without_large(groups, shares)
    if sum(grown.values()) >= 1:
        raise GroupsTooLarge(source, 1 - sum(shares.values()) / sum(grown.values()), settings.smaller_groups)
    rows.split(split(rest, grown, settings.seed))


Classes = dict[tuple[str, int], int]  # split, class id -> rows


def warn_of_missing_classes(classes: Classes, class_names: tuple[str, ...]) -> None:
    """Log the classes that a split lacks. Causes: few persons share all texts of a class, or a supplied file lacks the class."""
    for split_name in SPLITS:
        missing = [name for number, name in enumerate(class_names) if not classes.get((split_name, number))]
        if missing:
            log.warning("%s has no text of: %s", split_name, ", ".join(missing))


def _metrics(contents: report.Contents) -> dict[str, Any]:
    sources, summary = contents.sources, contents.summary
    for origin, source in sources.items():
        assert source.rows == summary.kept(origin) + sum(summary.dropped(origin).values()), "rows read = rows kept + rows dropped"
    counts = contents.counts
    metrics: dict[str, Any] = {
        "source": sources["source"].as_values(),
        "rows": contents.totals,
        "dropped": summary.dropped(),
        "near_duplicates": summary.near_duplicates()._asdict(),
        "contained": contents.contained,
        "largest_group": summary.largest_group(),
        "classes": {name: {split: counts[split][number] for split in SPLITS} for number, name in enumerate(contents.class_names)},
        "defects": contents.defects._asdict(),
        "tokens": contents.lengths.metrics,
    }
    for origin in sources.keys() - {"source"}:
        metrics[f"{origin}_source"] = {**sources[origin].as_values(), "dropped": summary.dropped(origin)}
    return metrics


def main() -> None:
    """Read the flags and the params, and run the stage."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "preprocess", PreprocessParams)
        run(settings, paths, params.load(paths.params, "train", LengthParams).max_length)


if __name__ == "__main__":
    main()
