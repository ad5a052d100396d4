"""Sources of records: JSON lines, a JSON list, Parquet.

In: a shard, or the elements of a JSON list. Out: the columns of text and label, and the rows.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.inference.errors import last_line
from serving.tables.columns import named_columns
from serving.tables.csv_records import lines_of
from serving.tables.delimited import SAMPLE_ROWS
from serving.tables.errors import FileUnreadable
from serving.tables.files import FREE_BYTES, MAX_RATIO, ReadObserver, Shard, opened
from serving.tables.labelled import LIST_SEPARATOR, Columns, LabelledRow, ReadOptions

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

PARQUET_ROWS = 10_000  # in memory at a time


def read_json_lines(shard: Shard, encoding: str, options: ReadOptions, observer: ReadObserver) -> tuple[Columns, Iterator[LabelledRow]]:
    """Return the columns and the rows of a file with one JSON object per line."""
    return rows_of_records(shard.file, _objects(shard, encoding, observer), options)


def _objects(shard: Shard, encoding: str, observer: ReadObserver) -> Iterator[tuple[int, Any]]:
    with lines_of(shard, encoding, observer) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise FileUnreadable(shard.file, f"is broken in line {number:,} ({error})", "write one JSON object per line") from None


def rows_of_records(file: Path, records: Iterator[tuple[int, Any]], options: ReadOptions) -> tuple[Columns, Iterator[LabelledRow]]:
    """Return the columns and the rows of flat JSON objects; raise ColumnNotFound or FileUnreadable.

    records: the line or number of each record, and the record.
    """
    first = list(islice(records, SAMPLE_ROWS))
    if not first:
        raise FileUnreadable(file, "has no records", "give a file with labelled texts")
    names = list(dict.fromkeys(name for number, record in first for name in _object(file, number, record)))
    columns = named_columns(file, names, [[_sampled(record.get(name)) for name in names] for _, record in first], options)
    text_name, *label_names = (names[place] for place in (columns.text, *columns.labels))

    def rows() -> Iterator[LabelledRow]:
        for number, record in chain(first, records):
            values = _object(file, number, record)
            labels = [_value(file, number, values, name, may_be_list=True) for name in label_names]
            yield LabelledRow(_value(file, number, values, text_name, may_be_list=False), "".join(labels), number)

    return columns, rows()


def _object(file: Path, number: int, record: Any) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise FileUnreadable(file, f"has no JSON object as record {number:,}", "write each record as an object with a text and a label")
    return record


def _value(file: Path, number: int, record: Mapping[str, Any], name: str, *, may_be_list: bool) -> str:
    if name not in record:
        raise FileUnreadable(file, f"has no '{name}' in record {number:,}", "add it, or remove the record")
    value = record[name]
    if _is_nested(value, may_be_list):
        raise FileUnreadable(file, f"has a nested value in '{name}' of record {number:,}", "give a text, and a label or a list of labels")
    try:
        return _shown(value).encode().decode()
    except UnicodeEncodeError:
        problem = f"has a lone surrogate, half of a character, in '{name}' of record {number:,}"
        raise FileUnreadable(file, problem, "correct that record") from None


def _is_nested(value: Any, may_be_list: bool) -> bool:
    """Tell whether a value is neither a plain value nor, where that is allowed, a list of plain values."""
    return isinstance(value, dict) or (
        isinstance(value, list) and not (may_be_list and not any(isinstance(part, dict | list) for part in value))
    )


def _sampled(value: Any) -> str:
    """Return a value as the search for the columns sees it: a nested one is neither a text nor a label."""
    return "" if _is_nested(value, may_be_list=True) else _shown(value)


def _shown(value: Any) -> str:
    """Return a value as a text, and a list of labels as one text."""
    return LIST_SEPARATOR.join(map(as_text, value)) if isinstance(value, list) else as_text(value)


def as_text(value: Any) -> str:
    """Return a value as a CSV would show it: nothing for null and NaN, integers without a decimal point."""
    if value is None or value != value:  # NaN is not equal to itself
        return ""
    return str(int(value)) if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()) else str(value)


def read_parquet(shard: Shard, options: ReadOptions, observer: ReadObserver) -> tuple[Columns, Iterator[LabelledRow]]:
    """Return the columns and the rows of a Parquet file."""
    import pyarrow.parquet as parquet

    with opened(shard), _parquet_errors(shard):
        file = parquet.ParquetFile(shard.file)
        size = sum(file.metadata.row_group(number).total_byte_size for number in range(file.metadata.num_row_groups))
        if size > FREE_BYTES + MAX_RATIO * shard.state.size:
            raise FileUnreadable(
                shard.file, f"decompresses to over {MAX_RATIO} times its size, which no real table does", "check its content"
            )
        found = file.schema_arrow.names
        once = [name for name in found if found.count(name) == 1]  # Arrow cannot read the others
        records = [dict(zip(once, values, strict=True)) for values in _parquet_rows(file, once, SAMPLE_ROWS)]
        sample = [[_sampled(record.get(name)) for name in found] for record in records]
        columns = named_columns(shard.file, found, sample, options)
    text_name, *label_names = (found[place] for place in (columns.text, *columns.labels))

    def rows() -> Iterator[LabelledRow]:
        with opened(shard, observer), _parquet_errors(shard):
            for number, (text, *labels) in enumerate(_parquet_rows(parquet.ParquetFile(shard.file), [text_name, *label_names]), 1):
                label = "".join(_cell(shard.file, number, *named, may_be_list=True) for named in zip(label_names, labels, strict=True))
                yield LabelledRow(_cell(shard.file, number, text_name, text, may_be_list=False), label, number)

    return columns, rows()


def _parquet_rows(file: "ParquetFile", names: Sequence[str], at_most: int | None = None) -> Iterator[tuple[Any, ...]]:
    """Yield the values of the named columns, row by row."""
    batches = file.iter_batches(min(PARQUET_ROWS, at_most or PARQUET_ROWS), columns=list(dict.fromkeys(names)))
    values = (row for batch in batches for row in zip(*(batch.column(name).to_pylist() for name in names), strict=True))
    return islice(values, at_most)


@contextmanager
def _parquet_errors(shard: Shard) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except UnicodeDecodeError:
        raise FileUnreadable(shard.file, "holds bytes that are not UTF-8", "write its columns of text and label as strings") from None
    except (ArrowException, OSError, KeyError, OverflowError) as error:
        raise FileUnreadable(shard.file, f"cannot be read as Parquet ({last_line(error)})", "export it again") from None


def _cell(file: Path, number: int, name: str, value: Any, *, may_be_list: bool) -> str:
    if _is_nested(value, may_be_list):
        raise FileUnreadable(file, f"has a nested value in '{name}' of row {number:,}", "give a text, and a label or a list of labels")
    return _shown(value.decode() if isinstance(value, bytes) else value)
