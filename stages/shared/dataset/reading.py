"""The reading of the sources: files and their options come in, clean and labelled rows go into the row store."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator

from serving.inference.redaction import redact
from serving.inference.text import clean_text
from stages.shared.classes import BINARY, label_key
from stages.shared.dataset.defects import Defects, resolve_escapes
from stages.shared.dataset.duplicates import KEYS, short
from stages.shared.dataset.errors import LabelsNotFound, LabelsUnknown
from stages.shared.dataset.labels import Corrections, LabelParams, Labels
from stages.shared.dataset.row_store import Entry, RowStore
from stages.shared.errors import StageError
from stages.shared.sources.facts import SourceRead
from stages.shared.sources.source import Source
from stages.shared.sources.tables import AUTO, LIST_SEPARATOR, SEPARATORS, ReadOptions
from stages.shared.splits import HEADER_ONLY

log = logging.getLogger("reading")

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
NO_LABEL = ("n/a", r"\n")  # how spreadsheets and MySQL write that a value is missing, in lower case
MAX_CLASSES = 100  # that `labels: auto` takes: more are no classes, but texts or numbers


def _known_encoding(name: str) -> str:
    try:
        "".encode("utf-8" if name == AUTO else name)
    except LookupError:
        raise ValueError("no encoding has this name: Korean Windows writes cp949, and auto finds the encoding") from None
    return name


class ReadingParams(LabelParams):
    """The params of preprocess that say how to read a source, and what a text is."""

    text_column: str
    """Name of the column with the texts, or its number from 0 in a file without a header. `auto` detects it and reports what it found."""
    label_column: str
    """Name or number of the column with the labels. `auto` detects it and reports what it found. `file`, `folder`: no column, but the name
    of each file or of its folder is the label. Then a `.txt` has one text a line (`file`), or is one text (`folder`).
    """
    encoding: Annotated[str, AfterValidator(_known_encoding)]
    """Encoding of the source, such as utf-8, cp949 or cp1252. `auto` detects it and reports what it found."""
    separator: Literal["auto", "tab", "comma", "semicolon", "bar"]
    """Character between the columns. `auto` detects it and reports what it found."""
    quoting: Literal["auto", "csv", "backslash", "none", "twice"]
    """How quotes are read. `csv`: as in RFC 4180. `backslash`: a quote in a text stands after a backslash, as MySQL writes it. `none`:
    they are characters like others. `twice`: the file was quoted two times, as NSMC is.
    """
    header: Literal["auto", "yes", "no"]
    """Whether the first line names the columns. `auto` detects it and reports what it found."""
    duplicate_key: Literal["exact", "ws", "nfkc", "alnum"]
    """What makes two texts duplicates. `exact`: equal. `ws`: equal but for spaces. `nfkc`: also but for case and Unicode form. `alnum`:
    equal letters and digits.
    """
    escapes: Literal["keep", "resolve"]
    """Escapes that the file writes out, such as a backslash and an n for a line end. `resolve`: each becomes its character. `keep`: they
    stay, and the report counts them.
    """


class Reading:
    """The reading of all sources into one row store. defects: of their raw texts so far."""

    def __init__(self, rows: RowStore, settings: ReadingParams, corrections: Corrections) -> None:
        self._rows, self._settings, self._corrections = rows, settings, corrections
        self.defects = Defects()

    def read(self, origin: str, file: Path, labels_file: Path | None) -> SourceRead | None:
        """Read a source; return how it was read, or None if an optional file has no rows. Raises StageError.

        labels_file: has a label for each line of the file, if labels stand elsewhere.
        """
        settings, labels = self._settings, Labels(self._settings)
        source = Source(file, read_options(self._settings, labels.is_label), optional=origin != "source", labels_file=labels_file)
        count = self._rows.add(self._entries(source, origin, labels))
        if not count:
            if file.name != HEADER_ONLY:
                log.warning("%s has only a header: the %s split comes from the source", file, origin)
            return None
        log.info("%s read as %s", file, ", ".join(f"{name} {value}" for name, value in source.facts.as_text().items()))
        if not source.is_aihub and settings.aihub_target != "polarity":
            raise StageError(
                f"preprocess.aihub_target is {settings.aihub_target!r}, but {file} is not the AI Hub corpus: set it to polarity"
            )
        if labels.unknown:
            raise LabelsUnknown(labels.unknown, settings.class_names)
        return SourceRead(count, source.sha256, source.facts)

    def _entries(self, source: Source, origin: str, labels: Labels) -> Iterator[Entry]:
        """Yield the rows of a source, each with its clean text, and with its label or the reason to drop it."""
        settings = self._settings
        key = KEYS[settings.duplicate_key]
        for row in source.rows():
            if source.is_aihub and not labels.is_aihub:
                labels.expect_aihub()
            self.defects = self.defects.and_those_of(row.text)
            raw = resolve_escapes(row.text) if settings.escapes == "resolve" else row.text
            text = redact(clean_text(raw), settings.redact)
            if text or row.label.strip():
                label, reason = self._corrections.verdict(text) or labels.verdict(row.label, source.file, row.line)
            else:  # an empty row, which spreadsheets append
                label, reason = None, "empty"
            yield Entry(
                origin,
                file=source.file.name,
                line=row.line,
                text=text,
                label=label,
                reason=reason or (None if text else "empty"),
                raw_label="" if label is not None else row.label.replace(LIST_SEPARATOR, ", "),
                key=short(key(text)),
                person=row.person,
            )


def read_options(settings: ReadingParams, is_label: Callable[[str], bool] | None) -> ReadOptions:
    """Return how to read a source. is_label: whether a value is a label of the task; None: the labels are not known yet."""
    separators = {name: separator for separator, name in SEPARATORS.items()} | {AUTO: AUTO}
    return ReadOptions(
        is_label,
        settings.text_column,
        settings.label_column,
        settings.encoding,
        separators[settings.separator],
        settings.quoting,
        settings.header,
    )


ParamsT = TypeVar("ParamsT", bound=ReadingParams)


def with_found_labels(settings: ParamsT, file: Path, labels_file: Path | None) -> ParamsT:
    """Return the params with the classes that the source has, if they are `auto`; raise LabelsNotFound if it has too few or too many.

    labels_file: has a label for each line of the source, if labels stand elsewhere.
    """
    if settings.labels != AUTO:
        return settings
    source = Source(file, read_options(settings, None), optional=False, labels_file=labels_file)
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}  # as they first stand in the file
    ignored = {*map(label_key, settings.ignore_labels), *NO_LABEL}
    for row in source.rows():
        if source.is_aihub:
            return settings.with_labels(BINARY)
        for label in settings.labels_in(row.label):
            key = label_key(label)
            if key and key not in ignored:
                counts[key] += 1
                names.setdefault(key, key if NUMBER.fullmatch(label.strip()) else clean_text(label))
        if len(names) > MAX_CLASSES:
            break
    if not 2 <= len(names) <= MAX_CLASSES:
        raise LabelsNotFound(file, source.facts.as_text().get("label_column", ""), list(names.values()))
    order = sorted(names, key=lambda key: (0, float(key), "") if NUMBER.fullmatch(key) else (1, 0, key))
    log.info("classes in %s: %s (preprocess.labels is auto)", file, ", ".join(f"{names[key]} {counts[key]:,}" for key in order))
    found = settings.with_labels([names[key] for key in order])
    return found.model_copy(update={"header": header}) if (header := source.facts.as_text().get("header")) in ("yes", "no") else found
