"""A user's file, or folder of shards, as a stream of rows, with the facts of how it was read."""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stages.shared.errors import FileUnreadable
from stages.shared.sources.aihub import dialogues_of, is_dialogue
from stages.shared.sources.delimited import MAX_LINE, dialect_of, encoding_for, has_only_header, read_delimited
from stages.shared.sources.files import Shard, shards_of
from stages.shared.sources.json_list import elements_of
from stages.shared.sources.records import read_json_lines, read_parquet, read_sheet, rows_of_records
from stages.shared.sources.rows import ReadOptions, Row

LARGE = 10 * 2**20  # bytes from which a bar is drawn


class Source:
    """All files of a source. facts: of how they were read, where files differ all that were found.

    corpus: whether it is of AI Hub. file: that is being read.
    """

    def __init__(self, path: Path, how: ReadOptions, *, optional: bool) -> None:
        """Find the files; optional: a file with a header and no rows will do."""
        self._how = how
        self._optional = optional
        self._shards = shards_of(path)
        self._hashes: list[tuple[str, str]] = []
        self._bar: Any = None
        self.facts: dict[str, str] = {}
        self.corpus = False
        self.file = path

    @property
    def sha256(self) -> str:
        """Hash of the file, or of the names and hashes of all."""
        if len(self._hashes) == 1:
            return self._hashes[0][1]
        return hashlib.sha256("".join(f"{sha256}  {name}\n" for name, sha256 in self._hashes).encode()).hexdigest()

    def rows(self) -> Iterator[Row]:
        """Yield all rows, file by file; raise FileUnreadable or ColumnMissing."""
        size = sum(shard.state.size for shard in self._shards)
        with tqdm(total=size, desc="reading", unit="B", unit_scale=True, disable=size < LARGE or not sys.stderr.isatty()) as self._bar:
            for shard in self._shards:
                if self._optional and shard.kind == "delimited" and has_only_header(shard):
                    continue
                self.file, number = shard.file, 0
                for number, row in enumerate(self._rows_of(shard), 1):  # noqa: B007
                    if len(row.text) > MAX_LINE:
                        raise FileUnreadable(shard.file, f"has a text of over {MAX_LINE:,} characters in row {row.line:,}", "cut it")
                    yield row
                if not number and not self._optional:
                    raise FileUnreadable(shard.file, "has a header but no rows", "give a file with labelled texts")

    def read(self, size: int) -> None:
        """Move the bar."""
        self._bar.update(size)

    def ended(self, file: Path, sha256: str) -> None:
        """Keep the hash of a file."""
        self._hashes.append((file.name, sha256))

    def _rows_of(self, shard: Shard) -> Iterator[Row]:
        if shard.kind == "delimited":
            dialect = dialect_of(shard, self._how)
            self._found(shard, dialect.facts, dialect.columns.corpus)
            return read_delimited(shard, dialect, self._how, self)
        if shard.kind == "xlsx":
            sheet, rows = read_sheet(shard, self._how, self)
            self._found(shard, sheet.facts, sheet.columns.corpus)
            return rows
        if shard.kind == "parquet":
            names, rows = read_parquet(shard, self._how, self)
            self._found(shard, {"format": "parquet", **names.facts})
            return rows
        encoding = encoding_for(shard, self._how)
        if shard.kind == "json":
            return self._json_rows(shard, encoding)
        names, rows = read_json_lines(shard, encoding, self._how, self)
        self._found(shard, {"format": "jsonl", "encoding": encoding, **names.facts})
        return rows

    def _json_rows(self, shard: Shard, encoding: str) -> Iterator[Row]:
        records = elements_of(shard, encoding, self)
        first = list(islice(records, 1))
        records = chain(first, records)
        if first and is_dialogue(first[0]):
            self._found(shard, {"format": "aihub", "encoding": encoding}, corpus=True)
            dialogues = enumerate(dialogues_of(shard.file, records), 1)
            return (Row(dialogue.text, dialogue.emotion, number, dialogue.profile) for number, dialogue in dialogues)
        names, rows = rows_of_records(shard.file, enumerate(records, 1), self._how)
        self._found(shard, {"format": "json", "encoding": encoding, **names.facts})
        return rows

    def _found(self, shard: Shard, facts: Mapping[str, str], corpus: bool = False) -> None:
        if self.facts and corpus != self.corpus:
            raise FileUnreadable(shard.file, "is no AI Hub corpus as the other files are", "keep one kind in a folder")
        self.corpus = corpus
        for name, value in facts.items():
            before = self.facts.get(name, value)
            self.facts[name] = before if value in before.split(" | ") else f"{before} | {value}"
