"""Turn labelled texts into clean train, validation and test splits.

Reads: the source (a file or a folder of shards), validation and test files where they are given, the preprocess section of
params.yaml. Writes: three CSVs `text,label` (label = class id), metrics/preprocess.json, and for a person data/report.html and
data/dropped.csv, each dropped row with its reason. Never touches the sources. Rows read = kept + dropped by each named reason.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from serving.inference.redaction import redact
from serving.inference.text import clean_text
from stages.shared import command, params
from stages.shared.dataset import report
from stages.shared.dataset.duplicates import KEYS, short
from stages.shared.dataset.errors import LabelsUnknown, TooFewTexts
from stages.shared.dataset.labels import Corrections, LabelParams, Labels
from stages.shared.dataset.row_store import Conflicts, Entry, RowStore, open_row_store
from stages.shared.dataset.splitting import needed, split
from stages.shared.errors import FileUnreadable, StageError
from stages.shared.outputs import atomic_files, write_metrics
from stages.shared.sources.delimited import SEPARATORS
from stages.shared.sources.rows import AUTO, ReadOptions
from stages.shared.sources.source import Source
from stages.shared.splits import SPLITS

log = logging.getLogger("preprocess")

NONE = "none.csv"  # in data/raw: stands for no file
UNKNOWN = ("[UNK]", "<unk>")  # what tokenizers call what they do not know
MEASURED_TEXTS = 100_000  # whose tokens are counted, fewer of long ones
MEASURED_CHARACTERS = 10_000_000
Share = Annotated[float, Field(gt=0, lt=0.5)]


def _known_encoding(name: str) -> str:
    try:
        "".encode("utf-8" if name == AUTO else name)
    except LookupError:
        raise ValueError("no encoding has this name; Korean Windows writes cp949, auto finds out") from None
    return name


class PreprocessParams(LabelParams):
    model_config = ConfigDict(extra="forbid")

    source: str
    validation_source: str
    test_source: str
    text_column: str
    label_column: str
    encoding: Annotated[str, AfterValidator(_known_encoding)]
    separator: Literal["auto", "tab", "comma", "semicolon", "bar"]
    quoting: Literal["auto", "csv", "none", "twice"]
    header: Literal["auto", "yes", "no"]
    duplicate_key: Literal["exact", "ws", "nfkc", "alnum"]
    conflicts: Conflicts
    near_duplicates: Annotated[float, Field(ge=0, le=1)]
    near_duplicates_limit: Annotated[int, Field(ge=0)]
    validation_size: Share
    test_size: Share
    max_rows: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


class LengthParams(params.Section):
    """The param of train that the report needs."""

    model_config = ConfigDict(extra="ignore")

    max_length: int


@dataclass(frozen=True)
class Paths(command.Paths):
    source: Annotated[Path, "labelled texts: CSV, TSV, JSONL, Parquet, XLSX or AI Hub corpus, or a folder of them"]
    corrections: Annotated[Path, "CSV text,label of labels put right, or with a header only"]
    validation_source: Annotated[Path, "file whose rows are the validation split, or one with a header only"]
    test_source: Annotated[Path, "file whose rows are the test split, or one with a header only"]
    train: Annotated[Path, "split to write"]
    validation: Annotated[Path, "split to write"]
    test: Annotated[Path, "split to write"]
    tokenizer: Annotated[Path, "tokenizer.json of the base model, for the lengths in the report"]
    dropped: Annotated[Path, "CSV of the dropped rows to write"]
    report: Annotated[Path, "HTML page to write"]
    metrics: Annotated[Path, "JSON to write"]


def run(
    settings: PreprocessParams, sources: dict[str, Path], corrections_file: Path, files: dict[str, Path], tokenizer: Path, limit: int
) -> None:
    """Read, clean, drop, sample, split, write.

    sources: `source`, and `validation` and `test` where there are files for them. files: to write, the splits, `dropped`, `report`
    and `metrics`.
    tokenizer, limit: the base model's, and the tokens that train cuts texts at, for the report.
    """
    with open_row_store() as corpus:
        corrections = Corrections(corrections_file, settings, KEYS[settings.duplicate_key])
        with timed("reading and cleaning"):
            facts = {origin: facts for origin in sources if (facts := take_in(corpus, origin, sources[origin], settings, corrections))}
        corrections.report()
        with timed("finding duplicates and conflicts"):
            corpus.drop_conflicting(settings.conflicts)
            corpus.drop_duplicates()
            corpus.drop_leaked()
        with timed("finding near duplicates"):
            find_near(corpus, settings)
        for origin in facts:
            if not corpus.kept(origin):
                raise FileUnreadable(sources[origin], f"has no text left ({_reasons(corpus, origin)})", "give another file")
        with timed("splitting"):
            corpus.sample(settings.max_rows, settings.seed)
            shares = {name: 0.0 if name in facts else getattr(settings, f"{name}_size") for name in SPLITS[1:]}
            groups = corpus.groups()
            refuse_small_classes(sources["source"], groups.of_each_class(), settings.class_names, needed(shares))
            corpus.split(split(groups, shares, settings.seed))

        classes = corpus.classes()
        warn_of_missing_classes(classes, settings.class_names)
        with timed("counting tokens"):
            lengths = lengths_of(corpus, tokenizer, limit)
        metrics = _metrics(facts, corpus, classes, settings.class_names)
        metrics |= {"corrections": corrections.counts, "tokens": lengths.metrics}
        with timed("reporting"):
            page, warnings = report.render(corpus, facts, classes, settings.class_names, lengths)
        with timed("writing"), atomic_files(*(files[name] for name in (*SPLITS, "dropped", "report"))) as drafts:
            for name, draft in zip(SPLITS, drafts, strict=False):
                corpus.write(name, draft)
            corpus.write_dropped(settings.class_names, drafts[-2])
            drafts[-1].write_text(page, "utf-8")
        write_metrics(files["metrics"], metrics)
        for origin in facts:
            log.info(
                "%s: %s rows read, %s kept (%s)", origin, f"{facts[origin]['rows']:,}", f"{corpus.kept(origin):,}", _reasons(corpus, origin)
            )
        if warnings:
            log.info("%s has %d things to look at, first: %s", files["report"], len(warnings), warnings[0])
        log.info(
            ", ".join(f"{name} {sum(classes.get((name, label), 0) for label in range(len(settings.class_names))):,}" for name in SPLITS)
        )


def _reasons(corpus: RowStore, origin: str) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in corpus.dropped(origin).items() if count) or "none dropped"


def take_in(corpus: RowStore, origin: str, file: Path, settings: PreprocessParams, corrections: Corrections) -> dict[str, object] | None:
    """Read a source into the corpus; return the facts of how it was read, or None where an optional one has no rows."""
    labels = Labels(settings)
    separators = {name: separator for separator, name in SEPARATORS.items()} | {AUTO: AUTO}
    how = ReadOptions(
        labels.knows,
        settings.text_column,
        settings.label_column,
        settings.encoding,
        separators[settings.separator],
        settings.quoting,
        settings.header,
    )
    source = Source(file, how, optional=origin != "source")
    key = KEYS[settings.duplicate_key]

    def entries() -> Iterator[Entry]:
        for row in source.rows():
            if source.corpus and not labels.corpus:
                labels.corpus = True
                _tell_polarity(settings)
            text = redact(clean_text(row.text), settings.redact)
            label, reason = corrections.verdict(text) or labels.verdict(row.label, source.file, row.line)
            yield Entry(
                origin,
                source.file.name,
                row.line,
                text,
                label,
                reason or (None if text else "empty"),
                "" if label is not None else row.label,
                short(key(text)),
                row.person,
            )

    rows = corpus.add(entries())
    if not rows:
        if file.name != NONE:
            log.warning("%s has only a header: it is taken as no %s file", file, origin)
        return None
    log.info("%s read as %s", file, ", ".join(f"{name} {value}" for name, value in source.facts.items()))
    if not source.corpus and settings.aihub_target != "polarity":
        raise StageError(f"preprocess.aihub_target is {settings.aihub_target!r}: {file} is no AI Hub corpus, set it to polarity")
    if labels.unknown:
        raise LabelsUnknown(labels.unknown, settings.labels)
    return {"rows": rows, "sha256": source.sha256, **source.facts}


def _tell_polarity(settings: PreprocessParams) -> None:
    if settings.aihub_target != "polarity":
        return
    if len(settings.class_names) != 2:
        raise StageError(f"preprocess.labels has {len(settings.labels)} classes: aihub_target polarity has two; or set aihub_target")
    joy, other = settings.labels[settings.joy_id], settings.labels[1 - settings.joy_id]
    log.info("AI Hub polarity: joy is '%s', the other five groups are '%s'", joy, other)


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Log how long a step takes, at the level DEBUG."""
    start = time.perf_counter()
    yield
    log.debug("%s took %.2f s", step, time.perf_counter() - start)


def find_near(corpus: RowStore, settings: PreprocessParams) -> None:
    """Look for near duplicates where that is wanted and can be had."""
    if settings.near_duplicates and corpus.kept() > settings.near_duplicates_limit:
        log.warning(
            "near duplicates are not looked for: over %s rows (preprocess.near_duplicates_limit)", f"{settings.near_duplicates_limit:,}"
        )
    elif settings.near_duplicates:
        corpus.find_near(settings.near_duplicates)


def lengths_of(corpus: RowStore, tokenizer: Path, limit: int) -> report.Lengths:
    """Count the tokens of texts of all splits."""
    import numpy as np
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(tokenizer))
    encoder.no_truncation()
    encoder.no_padding()
    unknown = [number for name in UNKNOWN if (number := encoder.token_to_id(name)) is not None]
    counts, missing = [], 0
    texts = corpus.texts_of(None, min(MEASURED_TEXTS, max(1, MEASURED_CHARACTERS // corpus.mean_length())))
    while chunk := [text for text, _ in islice(texts, 200)]:
        for encoding in encoder.encode_batch_fast(chunk):
            counts.append(len(encoding.ids))
            missing += sum(map(encoding.ids.count, unknown))
    return report.Lengths(np.array(counts), missing / max(1, sum(counts)), limit)


def refuse_small_classes(source: Path, groups: dict[int, int], class_names: tuple[str, ...], least: int) -> None:
    """Raise TooFewTexts for classes with too few texts, or persons, to stand in all splits."""
    small = {name: groups.get(number, 0) for number, name in enumerate(class_names) if groups.get(number, 0) < least}
    if small:
        raise TooFewTexts(source, small, needed=least)


Classes = dict[tuple[str, int], int]  # split, class id -> rows


def warn_of_missing_classes(classes: Classes, class_names: tuple[str, ...]) -> None:
    """Name the classes that a split lacks, which happens where few persons share all texts of a class, and in files of one's own."""
    for split_name in SPLITS:
        missing = [name for number, name in enumerate(class_names) if not classes.get((split_name, number))]
        if missing:
            log.warning("%s has no text of: %s", split_name, ", ".join(missing))


def _metrics(facts: dict[str, dict[str, object]], corpus: RowStore, classes: Classes, class_names: tuple[str, ...]) -> dict[str, object]:
    for origin, found in facts.items():
        assert found["rows"] == corpus.kept(origin) + sum(corpus.dropped(origin).values()), "rows read = rows kept + rows dropped"
    numbers = range(len(class_names))
    metrics: dict[str, object] = {
        "source": facts["source"],
        "rows": {name: sum(classes.get((name, number), 0) for number in numbers) for name in SPLITS},
        "dropped": corpus.dropped(),
        "near_duplicates": corpus.near_counts(),
        "largest_group": corpus.largest_group(),
        "classes": {class_names[number]: {name: classes.get((name, number), 0) for name in SPLITS} for number in numbers},
    }
    for origin in facts.keys() - {"source"}:
        metrics[f"{origin}_source"] = {**facts[origin], "dropped": corpus.dropped(origin)}
    return metrics


def main() -> None:
    """Wire flags and params."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "preprocess", PreprocessParams)
        sources = {"source": paths.source, "validation": paths.validation_source, "test": paths.test_source}
        limit = params.load(paths.params, "train", LengthParams).max_length
        run(
            settings,
            sources,
            paths.corrections,
            {name: getattr(paths, name) for name in (*SPLITS, "dropped", "report", "metrics")},
            paths.tokenizer,
            limit,
        )


if __name__ == "__main__":
    main()
