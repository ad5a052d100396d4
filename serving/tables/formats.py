"""The text formats of a file: their endings, media types and readers."""

from serving.tables.csv_rows import CsvRows
from serving.tables.ndjson_rows import NdjsonRows
from serving.tables.rows import Rows

ENDINGS = {".csv": "csv", ".tsv": "tsv", ".ndjson": "ndjson", ".jsonl": "ndjson"}  # kind by the end of a file's name
MEDIA_TYPES = {"csv": "text/csv", "tsv": "text/tab-separated-values", "ndjson": "application/x-ndjson"}
SEPARATORS = {"csv": ",;\t|", "tsv": "\t"}  # the first under which the header has the text's column is taken


def rows_of(kind: str, column: str, encoding: str = "utf-8-sig") -> Rows:
    """Return the reader of a kind of file: csv, tsv or ndjson. column: name of the texts' column or key."""
    if kind == "ndjson":
        return NdjsonRows(column, encoding)
    return CsvRows(column, SEPARATORS[kind], encoding, row_is_line=kind == "tsv")
