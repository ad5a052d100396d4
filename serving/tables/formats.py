"""The text formats of a file: their endings, their media types and the reader of each."""

from collections.abc import Sequence

from serving.tables.csv_rows import CsvRows
from serving.tables.files import KINDS
from serving.tables.labelled import AUTO
from serving.tables.ndjson_rows import NdjsonRows
from serving.tables.rows import Rows, answer_columns

STREAMED = {"delimited": "csv", "jsonl": "ndjson"}  # the kinds of files that are read row by row
ENDINGS = {ending: STREAMED[kind] for ending, kind in KINDS.items() if kind in STREAMED} | dict.fromkeys((".tsv", ".tab"), "tsv")
MEDIA_TYPES = {"csv": "text/csv", "tsv": "text/tab-separated-values", "ndjson": "application/x-ndjson"}
SEPARATORS = {"csv": ",;\t|", "tsv": "\t"}


def rows_of(file_format: str, column: str = AUTO, encoding: str = AUTO, answer: Sequence[str] = answer_columns()) -> Rows:
    """Return the reader of a format: csv, tsv or ndjson.

    column: column or key with the texts. answer: the columns of an answer.
    """
    if file_format == "ndjson":
        return NdjsonRows(column, encoding, answer=answer)
    return CsvRows(column, SEPARATORS[file_format], encoding, row_is_line=file_format == "tsv", answer=answer)
