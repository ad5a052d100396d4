"""A source: a user's file, or folder of shards, as one stream of rows.

In: a path and the options for reading. Out: the rows of all files, and the facts of how they were read.
"""

import csv
import dataclasses
import hashlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from serving.tables.csv_records import encoding_for
from serving.tables.delimited import dialect_of, read_delimited
from serving.tables.facts import SourceFacts
from serving.tables.files import Shard, opened, shard_of
from serving.tables.json_list import elements_of
from serving.tables.labelled import AUTO, MAX_CHARACTERS, LabelledRow, ReadOptions
from serving.tables.names import names_both
from serving.tables.records import read_json_lines, read_parquet, rows_of_records
from serving.tables.spreadsheets import read_sheet
from stages.shared import aihub
from stages.shared.errors import FileUnreadable
from stages.shared.sources.aihub import dialogues_of, is_dialogue
from stages.shared.sources.errors import errors_of_readers
from stages.shared.sources.plain_text import labelled_by, read_lines, read_whole
from stages.shared.sources.shards import FILE, FOLDER, LINES, as_stored, shards_of
from stages.shared.splits import only_line

AIHUB_FORMATS = {"json": "aihub", "delimited": "aihub table", "xlsx": "aihub xlsx"}
LARGE = 10 * 2**20  # bytes: a larger source shows a progress bar


def has_no_rows(file: Path) -> bool:
    """Tell whether a file is a header that names text and label, and nothing else."""
    if not file.is_file():
        return False
    with errors_of_readers(), opened(shard_of(file, "delimited")) as stream:
        line = only_line(stream)
    return line is not None and names_both(next(csv.reader([line])), AUTO, AUTO)


class Source:
    """All files of a source. facts: how the files were read so far. is_aihub: whether they are of the AI Hub corpus.

    file: the file that is being read.
    """

    def __init__(self, path: Path, options: ReadOptions, *, optional: bool, labels_file: Path | None = None) -> None:
        """Find the files. optional: accept files that have a header and no rows. labels_file: has a label for each text."""
        if labels_file and options.label_column != AUTO:
            raise FileUnreadable(labels_file, "has the labels", "set preprocess.label_column to auto")
        if labels_file and (folders := [place for place in (path, labels_file) if as_stored(place).is_dir()]):
            raise FileUnreadable(folders[0], "is a folder, but preprocess.labels_source has the labels of one file", "name one file")
        place = LINES if labels_file else options.label_column
        self._label_place = labels_file.name if labels_file else place if place in (FILE, FOLDER) else ""
        self._options = dataclasses.replace(options, known_table=aihub.TABLE_COLUMNS, has_labels=not self._label_place)
        self._optional = optional
        self._shards = shards_of(path, place)
        self._labels = shards_of(labels_file, LINES)[0].shard if labels_file else None
        self._folder = path
        self._hashes: list[tuple[str, str]] = []
        self._bar: Any = None
        self.facts = SourceFacts()
        self.is_aihub = False
        self.file = path

    @property
    def sha256(self) -> str:
        """The hash of the only file, or of the names and hashes of all files."""
        if len(self._hashes) == 1:
            return self._hashes[0][1]
        return hashlib.sha256("".join(f"{sha256}  {name}\n" for name, sha256 in self._hashes).encode()).hexdigest()

    def rows(self) -> Iterator[LabelledRow]:
        """Yield all rows, file by file; raise FileUnreadable or ColumnMissing."""
        size = sum(shard.state.size for shard, _ in self._shards)
        with errors_of_readers(), tqdm(total=size, desc="reading", unit="B", unit_scale=True, disable=size < LARGE or None) as self._bar:
            for shard, label in self._shards:
                if self._optional and shard.kind == "delimited" and has_no_rows(shard.file):
                    continue
                self.file, number = shard.file, 0
                rows = self._rows_of(shard)
                rows = labelled_by(rows, shard.file, self._labels, self) if self._labels else rows
                for number, row in enumerate(rows, 1):  # noqa: B007
                    if len(row.text) > MAX_CHARACTERS:
                        raise FileUnreadable(
                            shard.file, f"has a text of over {MAX_CHARACTERS:,} characters in row {row.line:,}", "shorten it"
                        )
                    yield row if label is None else row._replace(label=label)
                if not number and not self._optional:
                    raise FileUnreadable(shard.file, "has a header but no rows", "give a file with labelled texts")

    def read(self, size: int) -> None:
        """Move the progress bar."""
        self._bar.update(size)

    def ended(self, file: Path, sha256: str) -> None:
        """Keep the hash of a file."""
        name = file.relative_to(self._folder) if file.is_relative_to(self._folder) and file != self._folder else file.name
        self._hashes.append((str(name), sha256))

    def _rows_of(self, shard: Shard) -> Iterator[LabelledRow]:
        if shard.kind == "delimited":
            dialect = dialect_of(shard, self._options)
            self._found(shard, dialect.facts, dialect.columns.is_known)
            return read_delimited(shard, dialect, self._options, self)
        if shard.kind == "xlsx":
            sheet, rows = read_sheet(shard, self._options, self)
            self._found(shard, sheet.facts, sheet.columns.is_known)
            return rows
        if shard.kind == "parquet":
            columns, rows = read_parquet(shard, self._options, self)
            self._found(shard, SourceFacts.of_file(format="parquet") | columns.record_facts)
            return rows
        encoding = encoding_for(shard, self._options)
        if shard.kind == "json":
            return self._json_rows(shard, encoding)
        if shard.kind in ("lines", "text"):
            self._found(shard, SourceFacts.of_file(format=shard.kind, encoding=encoding))
            return (read_lines if shard.kind == "lines" else read_whole)(shard, encoding, self)
        columns, rows = read_json_lines(shard, encoding, self._options, self)
        self._found(shard, SourceFacts.of_file(format="jsonl", encoding=encoding) | columns.record_facts)
        return rows

    def _json_rows(self, shard: Shard, encoding: str) -> Iterator[LabelledRow]:
        records = elements_of(shard, encoding, self)
        first = list(islice(records, 1))
        records = chain(first, records)
        if first and is_dialogue(first[0]):
            self._found(shard, SourceFacts.of_file(encoding=encoding), is_aihub=True)
            dialogues = enumerate(dialogues_of(shard.file, records), 1)
            return (LabelledRow(dialogue.text, dialogue.emotion, number, dialogue.profile) for number, dialogue in dialogues)
        columns, rows = rows_of_records(shard.file, enumerate(records, 1), self._options)
        self._found(shard, SourceFacts.of_file(format="json", encoding=encoding) | columns.record_facts)
        return rows

    def _found(self, shard: Shard, facts: SourceFacts, is_aihub: bool = False) -> None:
        if self.facts.format and is_aihub != self.is_aihub:
            raise FileUnreadable(
                shard.file,
                f"{'is' if is_aihub else 'is not'} of the AI Hub corpus, unlike the files before it",
                "keep one kind in a folder",
            )
        self.is_aihub = is_aihub
        if self._label_place:
            facts = dataclasses.replace(facts, label_column=(self._label_place,))
        self.facts |= dataclasses.replace(facts, format=(AIHUB_FORMATS[shard.kind],)) if is_aihub else facts
