"""Score a file of texts: python -m serving.score IN OUT

IN is CSV, TSV, NDJSON or Parquet of any size, or XLSX. The text formats may also be .gz. "-" is standard input or output.
Its encoding, separator, header and column of texts are found as preprocess finds them.
OUT has the same rows in the same format, with the columns label, score and error. If IN has one of these columns already, the new
columns are predicted_label, predicted_score and predicted_error. A row with an unreadable text has an error and no label.
Text formats come out in UTF-8, and XLSX as CSV.

OUT appears when it is complete, and replaces an older file. Until then the rows are in OUT.part. After a kill or a full disk the same
command resumes where it stopped, and gives the same file.
"""

import argparse
import codecs
import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from serving.inference.errors import InferenceError
from serving.inference.text import why_unreadable
from serving.tables.blocks import BLOCK_CHARACTERS, BLOCK_ROWS, CannotScore, Table, TextTable, chunks_of, piped_chunks
from serving.tables.csv_rows import CsvRows
from serving.tables.errors import FileUnreadable
from serving.tables.formats import ENDINGS, rows_of
from serving.tables.labelled import AUTO
from serving.tables.lines import NotDecoded
from serving.tables.output import Counts, DraftFile, Output, StandardOutput
from serving.tables.parquet import ParquetTable
from serving.tables.rows import Answer, ColumnMissing, ColumnUnsure, Row, Rows, RowsBroken, answer_columns, answers_of
from serving.tables.spreadsheets import csv_of_sheet

if TYPE_CHECKING:
    from serving.inference.classifier import Classifier

PIPE = Path("-")
FORMATS = ENDINGS | {".parquet": "parquet", ".xlsx": "xlsx"}
FILES_ONLY = {"parquet": "Parquet", "xlsx": "XLSX"}  # formats that no pipe can carry
FLAGS = {"text_column": "--column", "encoding": "--encoding"}  # by the options of a reader
log = logging.getLogger("score")


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived. Its argument is the number of the signal."""


def run(source: Path, out: Path, options: argparse.Namespace) -> None:
    """Score all rows of `source` into `out`."""
    file_format = format_of(source, out, options.format)
    refuse_paths(source, out, file_format)
    classifier = load(options)
    identity = None if PIPE in (source, out) else identity_of(source, classifier, file_format, options)
    with StandardOutput() if out == PIPE else DraftFile(out.resolve(), identity, restart=options.restart) as output:
        counts, before, started = output.counts, output.counts.rows, time.monotonic()
        if before:
            log.info("resuming after row %s", f"{before:,}")
        try:
            with progress_bar(source) as bar:
                class_names = classifier.bundle.class_names if options.detail else ()
                table = table_of(source, out, file_format, options, class_names, on_progress=lambda done: bar.update(done - bar.n))
                score(table, classifier, output, class_names)
        except ColumnMissing as error:
            names = ", ".join(map(repr, error.found))
            wanted = "of texts" if options.column == AUTO else repr(options.column)
            raise CannotScore(f"{source} has no column {wanted} (found: {names:.500}): name the column with --column") from None
        except ColumnUnsure as error:
            raise CannotScore(sentence_of(source, error.reason)) from None
        except RowsBroken as error:
            remedy = ", or name its encoding with --encoding" if isinstance(error, NotDecoded) else ""
            raise CannotScore(f"{source}, after row {counts.rows:,}: {error}{remedy}") from None
        except FileUnreadable as error:
            raise CannotScore(sentence_of(source, error)) from None
        if identity and identity["input"] != state_of(source):
            raise CannotScore(f"{source} changed while the command read it: run the command again with --restart")
        output.commit(table.finish)
    if options.column == AUTO:
        log.info("the texts are in column %r", table.column)
    report(counts, counts.rows - before, time.monotonic() - started)


def sentence_of(source: Path, error: FileUnreadable) -> str:
    """Return the sentence of a reader's error, with the flags of this command in its remedy."""
    return f"{source} {error.problem}: {error.remedy.format_map(FLAGS)}"


def score(table: Table, classifier: "Classifier", output: Output, class_names: Sequence[str] = ()) -> None:
    """Classify and write the blocks that the output does not contain yet. class_names: for details, if they are wanted."""
    counts = output.counts
    done = counts.blocks
    for block in table.blocks():
        if block.number < done:
            continue
        answers, truncated = answers_to(block.rows, classifier, class_names)
        data = table.encode(block, answers)
        counts.blocks += 1
        counts.rows += len(answers)
        counts.errors += sum(answer.label is None for answer in answers)
        counts.truncated += truncated
        output.write(data)


def answers_to(rows: Sequence[Row], classifier: "Classifier", class_names: Sequence[str]) -> tuple[list[Answer], int]:
    """Return an answer for each row, and the number of truncated texts."""
    problems = [row.problem or why_unreadable(row.text) for row in rows]
    predictions = classifier.predict([str(row.text) for row, problem in zip(rows, problems, strict=True) if not problem])
    return answers_of(problems, predictions, class_names), int(predictions.truncated.sum())


def report(counts: Counts, scored: int, seconds: float) -> None:
    """Log the counts of the output. scored: rows of this run. seconds: that they took."""
    log.info(
        "%s rows, %s with an error, %s truncated; %s texts/s",
        *(f"{number:,}" for number in (counts.rows, counts.errors, counts.truncated, round(scored / max(seconds, 1e-9)))),
    )
    if counts.rows and counts.errors == counts.rows:
        log.warning("no row could be classified: check --column")


def format_of(source: Path, out: Path, flag: str | None) -> str:
    """Return the format of both files: of the flag, or else of their names."""
    if flag:
        return flag
    files = [file for file in (source, out) if file != PIPE]
    if source.suffix.lower() == ".xlsx" and out != PIPE and FORMATS.get(Path(out.name.removesuffix(".gz")).suffix.lower()) != "csv":
        raise CannotScore(f"{source} comes out as CSV: end the name of {out} in .csv")
    if source.suffix.lower() == ".xlsx":
        return "xlsx"
    formats = {FORMATS.get(Path(file.name.removesuffix(".gz")).suffix.lower()) for file in files}
    if None in formats or not formats:
        raise CannotScore(f"no file name shows a known format: use {', '.join(FORMATS)} at its end, or add --format")
    if len(formats) > 1:
        raise CannotScore(f"{source} and {out} have different formats: give both the same, because the command keeps the format")
    return str(formats.pop())


def refuse_paths(source: Path, out: Path, file_format: str) -> None:
    """Raise CannotScore if the command cannot use these paths."""
    if file_format in FILES_ONLY and (source == PIPE or (out == PIPE and file_format == "parquet")):
        raise CannotScore(f"{FILES_ONLY[file_format]} cannot go through a pipe: name a file")
    for file in (source, out):
        if file != PIPE and file.exists() and not file.is_file():
            raise CannotScore(f"{file} is not a regular file: name one, or use - for a pipe")
    if source != PIPE and not source.exists():
        raise CannotScore(f"{source} does not exist: check its path")
    if not out.parent.is_dir():
        raise CannotScore(f"{out.parent} is not a folder: create it first")
    if source != PIPE and out.exists() and out.samefile(source):
        raise CannotScore("the input and the output are the same file: name another output file")


def load(options: argparse.Namespace) -> "Classifier":
    """Load the bundle that the flags name, or else the server's settings."""
    from serving.inference.classifier import Classifier
    from serving.settings import read_settings

    settings = read_settings()
    return Classifier.load(options.model or settings.model, engine=options.engine, threads=options.threads or settings.threads)


def identity_of(source: Path, classifier: "Classifier", file_format: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return all that decides the output. The keys are words for the user, and stand in DraftOfOtherRun."""
    return {
        "version of the program": [BLOCK_ROWS, BLOCK_CHARACTERS],
        "input": state_of(source),
        "bundle": classifier.bundle.sha256,
        "engine": classifier.spec.name,
        "format": file_format,
        "column": options.column,
        "encoding": options.encoding,
        "detail": options.detail,
    }


def state_of(file: Path) -> list[int]:
    """Return the size and the time of a file, which change with its content."""
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


def table_of(
    source: Path,
    out: Path,
    file_format: str,
    options: argparse.Namespace,
    class_names: Sequence[str],
    on_progress: Callable[[int], object],
) -> Table:
    """Open the input. class_names: for details, if they are wanted. on_progress: gets the number of bytes read from the input."""
    answer = answer_columns(class_names)
    if file_format == "parquet":
        return ParquetTable(source, options.column, on_progress, answer)
    rows: Rows
    if file_format == "xlsx":
        rows, chunks = CsvRows(options.column, ",", "utf-8", answer=answer), csv_of_sheet(source, on_progress)
    else:
        rows = rows_of(file_format, options.column, options.encoding, answer)
        chunks = piped_chunks(on_progress) if source == PIPE else chunks_of(source, on_progress)
    return TextTable(rows, chunks, packed=out.suffix == ".gz")


def progress_bar(source: Path) -> Any:
    """Return a progress bar of the input's bytes on stderr. It is off if stderr is not a terminal."""
    from tqdm import tqdm

    total = None if source == PIPE else source.stat().st_size
    return tqdm(total=total, unit="B", unit_scale=True, disable=None, file=sys.stderr, smoothing=0)


def encoding(name: str) -> str:
    """Return the name of an encoding, or `auto`. With UTF-8 the file may begin with a byte order mark."""
    if name == AUTO:
        return name
    try:
        codecs.getincrementaldecoder(name)
        "".encode(name)  # refuses codecs that are not text encodings, such as base64
    except LookupError:
        raise argparse.ArgumentTypeError(f"Python knows no encoding {name!r}: give a name such as utf-8 or cp949") from None
    return "utf-8-sig" if codecs.lookup(name).name == "utf-8" else name


def cores(number: str) -> int:
    """Return a number of cores."""
    if not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{number!r} is not a number of cores: give a number from 1")
    return int(number)


def flags() -> argparse.ArgumentParser:
    """Return the flags of the command."""
    parser = argparse.ArgumentParser("python -m serving.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="IN", help="file with the texts, or -")
    parser.add_argument("out", type=Path, metavar="OUT", help="file for the rows with their answers, or -")
    parser.add_argument("--column", default=AUTO, help="name or number of the column or key with the texts (default: found)")
    parser.add_argument("--format", choices=sorted(set(FORMATS.values())), help="format (default: by the ending of a file name)")
    parser.add_argument("--encoding", type=encoding, default=AUTO, help="encoding of IN (default: found; Korean Windows writes cp949)")
    parser.add_argument("--detail", action="store_true", help="add class name, uncertain, truncated and the scores of all classes")
    parser.add_argument("--model", type=Path, help="bundle folder (default: SENTIMENT_MODEL, as the server)")
    parser.add_argument("--engine", help="engine of the bundle (default: the first that works on this machine)")
    parser.add_argument("--threads", type=cores, help="number of cores (default: all usable cores)")
    parser.add_argument("--restart", action="store_true", help="start again, even if a draft exists")
    return parser


def main() -> None:
    """Run the command. Exit codes: 1 after an error with a message, 130 after SIGINT, 143 after SIGTERM."""
    options = flags().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    pipe = PIPE in (options.source, options.out)
    remedy = "A pipe keeps nothing: run the command again" if pipe else "The same command resumes where it stopped"
    try:
        run(options.source, options.out, options)
    except (CannotScore, InferenceError) as error:
        fail(str(error), 1)
    except OSError as error:
        fail(f"{error.filename or options.out}: {error.strerror or error}. Free disk space or correct the permissions. {remedy}", 1)
    except Stopped as stopped:
        fail(f"stopped. {remedy}", 128 + stopped.args[0])


def stop(number: int, _: object) -> None:
    """Raise Stopped. A second signal ends the process at once."""
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(number)


def fail(message: str, code: int) -> NoReturn:
    """Print an error and exit."""
    print(f"ERROR: {message}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
