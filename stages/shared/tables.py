"""Tables of labelled texts: any user's file in, the project's own splits in and out.

A source is read whole and as text: "NA" stays a text, "007" stays "007", and a row that does not fit is an error, not a loss.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stages.shared.encoding import read_text
from stages.shared.errors import ColumnMissing, SourceUnreadable
from stages.shared.outputs import whole_files

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon"}
csv.field_size_limit(2**31 - 1)
Rows = list[tuple[int, list[str]]]  # line number of the row's end, fields


@dataclass(frozen=True)
class SourceTable:
    """A user's table. columns: name -> strings, all of one length. facts: how it was read (format, encoding, ...)."""

    columns: dict[str, list[str]]
    facts: dict[str, str]


def read_source(file: Path, wanted: dict[str, str]) -> SourceTable:
    """Read CSV, TSV, JSON lines, a JSON list or Parquet; keep the wanted columns.

    wanted: column name -> the param that names it. Raises SourceUnreadable or ColumnMissing.
    """
    suffix = file.suffix.lower()
    if file.is_dir():
        raise SourceUnreadable(file, "is a directory", "name one file in it")
    if suffix == ".parquet":
        table = _read_parquet(file, wanted)
    elif suffix in (".jsonl", ".ndjson"):
        table = _read_json_lines(file, wanted)
    elif suffix in (".csv", ".tsv", ".txt", ".tab"):
        table = _read_delimited(file, wanted)
    else:
        raise SourceUnreadable(file, f"has the unknown file type '{suffix}'", "give CSV, TSV, TXT, JSONL, Parquet or AI Hub JSON")
    if not next(iter(table.columns.values())):
        raise SourceUnreadable(file, "has a header but no rows", "give a file with labelled texts")
    return table


def records_table(file: Path, records: Sequence[Any], wanted: dict[str, str], facts: dict[str, str]) -> SourceTable:
    """Turn a list of flat JSON objects into a table; `file` is for the sentences only."""
    if not records:
        raise SourceUnreadable(file, "has no records", "give a file with labelled texts")
    columns: dict[str, list[str]] = {name: [] for name in wanted}
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise SourceUnreadable(file, f"has no JSON object as record {number:,}", "give one object with a text and a label per record")
        for name, param in wanted.items():
            if name not in record and name not in records[0]:
                raise ColumnMissing(file, name, param, record)
            if name not in record:
                raise SourceUnreadable(file, f"has no '{name}' in record {number:,}", "add it, or remove the record")
            value = record[name]
            if isinstance(value, dict | list):
                raise SourceUnreadable(file, f"has a nested value in '{name}' of record {number:,}", "give a text and one label per record")
            try:
                columns[name].append(_as_text(value).encode().decode())
            except UnicodeEncodeError:
                raise SourceUnreadable(
                    file, f"has half a character (a lone surrogate) in '{name}' of record {number:,}", "correct that record"
                ) from None
    return SourceTable(columns, facts)


def _as_text(value: Any) -> str:
    if value is None or value != value:  # NaN is not equal to itself
        return ""
    return str(int(value)) if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()) else str(value)


def _read_parquet(file: Path, wanted: dict[str, str]) -> SourceTable:
    import pyarrow.parquet as parquet
    from pyarrow import ArrowException

    try:
        found = parquet.read_schema(file).names
        for name, param in wanted.items():
            if name not in found:
                raise ColumnMissing(file, name, param, found)
        columns = parquet.read_table(file, columns=list(wanted)).to_pydict()
        columns = {name: [value.decode() if isinstance(value, bytes) else value for value in values] for name, values in columns.items()}
    except FileNotFoundError:
        raise SourceUnreadable(file, "does not exist", "check its path") from None
    except UnicodeDecodeError:
        raise SourceUnreadable(file, "holds bytes that are no UTF-8 text", "write the column as strings") from None
    except (ArrowException, OSError) as error:
        raise SourceUnreadable(file, f"is not a Parquet file ({str(error).splitlines()[0]})", "export it again") from None
    for name, values in columns.items():
        if nested := next((number for number, value in enumerate(values, 1) if isinstance(value, dict | list)), None):
            raise SourceUnreadable(file, f"has a nested value in '{name}' of row {nested:,}", "give a text and one label per row")
    return SourceTable({name: [_as_text(value) for value in columns[name]] for name in wanted}, {"format": "parquet"})


def _read_json_lines(file: Path, wanted: dict[str, str]) -> SourceTable:
    text, encoding = read_text(file)
    records = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise SourceUnreadable(file, f"is broken in line {number:,} ({error})", "every line must be one JSON object") from None
    return records_table(file, records, wanted, {"format": "jsonl", "encoding": encoding})


def _read_delimited(file: Path, wanted: dict[str, str]) -> SourceTable:
    text, encoding = read_text(file)
    header_line = text.lstrip("\r\n").splitlines()[0]
    separator = _separator(header_line, wanted)
    rows, quoting = _rows(file, text, separator)
    header = [name.strip() for name in rows[0][1]]
    if repeated := next((name for name in wanted if header.count(name) > 1), None):
        raise SourceUnreadable(file, f"has the column '{repeated}' more than once", "rename or remove one of them")
    for name, param in wanted.items():
        if name not in header:
            raise ColumnMissing(file, name, param, header)
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise SourceUnreadable(
                file,
                f"has {len(row)} fields in line {line:,} where the header has {len(header)}",
                f"put a text that holds a {SEPARATORS[separator]} in double quotes, or remove what is too much at the end of the line",
            )
    refuse_swallowed_rows(file, rows, separator)
    positions = {name: header.index(name) for name in wanted}
    columns = {name: [row[position] for _, row in rows[1:]] for name, position in positions.items()}
    facts = {"format": "delimited", "encoding": encoding, "separator": SEPARATORS[separator], "quoting": quoting}
    return SourceTable(columns, facts)


def refuse_swallowed_rows(file: Path, rows: Rows, separator: str) -> None:
    """Raise SourceUnreadable where a quoted text of several lines holds whole rows: its opening quote was never meant to quote.

    A line inside a text counts as a row when it has as many fields as the header and ends as some other row does.
    """
    endings = {row[-1].strip() for _, row in rows[1:] if not any("\n" in field for field in row)}
    for line, row in rows[1:]:
        inner = [part for field in row if "\n" in field for part in field.split("\n")[:-1]]
        for parsed in csv.reader(inner, delimiter=separator):
            if len(parsed) == len(row) and parsed[-1].strip() in endings:
                raise SourceUnreadable(
                    file, f"has whole rows inside a quoted text that ends in line {line:,}", "double the quotes that are part of a text"
                )


def _separator(header_line: str, wanted: dict[str, str]) -> str:
    """Choose the separator whose header holds the wanted columns, else the most frequent one."""
    for separator in SEPARATORS:
        if set(wanted) <= {name.strip().strip('"') for name in header_line.split(separator)}:
            return separator
    return max(SEPARATORS, key=header_line.count)


def _rows(file: Path, text: str, separator: str) -> tuple[Rows, str]:
    """Read the rows by the rules of CSV quoting; in tab-separated files also with quotes as plain characters.

    Tab-separated files are often written without quoting. A sentence that merely begins with a quote then makes the CSV
    rules swallow whole lines: where plain reading gives an even table of more rows, it is the right one.
    """
    quoted, problem = _parse(text, separator, csv.QUOTE_MINIMAL)
    if problem is None and '"' not in text:
        return quoted, "none needed"
    if separator == "\t":
        plain, _ = _parse(text, separator, csv.QUOTE_NONE)
        if len({len(row) for _, row in plain}) == 1 and (problem is not None or len(quoted) < len(plain)):
            return plain, "quotes are characters"
    if problem is not None:
        raise SourceUnreadable(file, f"has broken quotes ({problem})", "close every quote, and double the quotes inside a quoted text")
    return quoted, "csv"


def _parse(text: str, separator: str, quoting: Literal[0, 3]) -> tuple[Rows, str | None]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=True)
    rows: Rows = []
    try:
        rows.extend((reader.line_num, row) for row in reader if len(row) > 1 or any(field.strip() for field in row))
    except csv.Error as error:
        return rows, f"line {reader.line_num:,}: {error}"
    return rows, None


SPLIT_COLUMNS = ["text", "label"]


def write_splits(splits: dict[Path, "pd.DataFrame"]) -> None:
    """Write all splits or none. Each frame has the columns text (str) and label (class id)."""
    with whole_files(*splits) as drafts:
        for draft, frame in zip(drafts, splits.values(), strict=True):
            frame.to_csv(draft, columns=SPLIT_COLUMNS, index=False, lineterminator="\n")


def read_split(file: Path, class_names: Sequence[str] | None = None) -> "pd.DataFrame":
    """Read a split written by preprocess: columns text (str), label (int).

    class_names: those that the labels must be of. Raises SourceUnreadable where it is no split, or has other classes.
    """
    import pandas as pd

    remedy = "run `dvc repro preprocess`"
    try:
        split = pd.read_csv(file, dtype={"text": str, "label": int}, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise SourceUnreadable(file, "does not exist", remedy) from None
    except ValueError as error:
        raise SourceUnreadable(file, f"is no split ({str(error).splitlines()[0]})", remedy) from None
    if list(split.columns) != SPLIT_COLUMNS or split.empty:
        raise SourceUnreadable(file, "is no split with the columns text, label and some rows", remedy)
    if class_names is not None and not split["label"].between(0, len(class_names) - 1).all():
        raise SourceUnreadable(file, f"has the class id {split['label'].max()} where there are {len(class_names)} classes", remedy)
    return split
