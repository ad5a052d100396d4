"""Score a file of texts: python -m serving.score IN OUT

The same rows come out, with the columns label, score and error (predicted_... where one of these is there already). CSV, TSV, NDJSON
or Parquet of any size, the text formats also as .gz; text comes out as UTF-8. A row whose text cannot be read has an error, and the
rest goes on. "-" is standard input or output.

OUT stands there only when it is complete, and replaces an older one. Until then all is in OUT.part: after a kill or a full disk the
same command goes on where it stopped, and ends with the same file.
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
from serving.tables.formats import ENDINGS, rows_of
from serving.tables.output import Counts, Output, Part, StandardOutput
from serving.tables.parquet import ParquetTable
from serving.tables.rows import Answer, ColumnMissing, NotDecoded, Row, RowsBroken, answers_of

if TYPE_CHECKING:
    from serving.inference.classifier import Classifier

PIPE = Path("-")
FORMATS = ENDINGS | {".parquet": "parquet"}
log = logging.getLogger("score")


class Stopped(BaseException):
    """SIGINT or SIGTERM has come."""


def run(source: Path, out: Path, options: argparse.Namespace) -> None:
    """Score all rows of `source` into `out`."""
    kind = format_of(source, out, options.format)
    refuse_paths(source, out, kind)
    classifier = load(options)
    identity = None if PIPE in (source, out) else identity_of(source, classifier, kind, options)
    with StandardOutput() if out == PIPE else Part(out.resolve(), identity, restart=options.restart) as output:
        counts, before, started = output.counts, output.counts.rows, time.monotonic()
        if before:
            log.info("going on behind row %s", f"{before:,}")
        try:
            with progress_bar(source) as bar:
                table = table_of(source, out, kind, options, seen=lambda done: bar.update(done - bar.n))
                score(table, classifier, output)
        except ColumnMissing as error:
            names = ", ".join(map(repr, error.found))
            raise CannotScore(f"{source} has no column {options.column!r} (found: {names:.500}): name it by --column") from None
        except RowsBroken as error:
            remedy = "; name its encoding by --encoding" if isinstance(error, NotDecoded) else ""
            raise CannotScore(f"{source}, behind row {counts.rows:,}: {error}{remedy}") from None
        if identity and identity["input"] != state_of(source):
            raise CannotScore(f"{source} was changed while it was read: run again with --restart")
        output.finish(table.whole)
    report(counts, counts.rows - before, time.monotonic() - started)


def score(table: Table, classifier: "Classifier", output: Output) -> None:
    """Classify and write block by block, behind those that are in the output already."""
    counts = output.counts
    done = counts.blocks
    for block in table.blocks():
        if block.number < done:
            continue
        answers, truncated = answers_to(block.rows, classifier)
        data = table.written(block, answers)
        counts.blocks += 1
        counts.rows += len(answers)
        counts.errors += sum(answer.label is None for answer in answers)
        counts.truncated += truncated
        output.write(data)


def answers_to(rows: Sequence[Row], classifier: "Classifier") -> tuple[list[Answer], int]:
    """Return an answer for each row, and how many texts were cut at the model's length."""
    problems = [row.problem or why_unreadable(row.text) for row in rows]
    predictions = classifier.predict([str(row.text) for row, problem in zip(rows, problems, strict=True) if not problem])
    return answers_of(problems, predictions), int(predictions.truncated.sum())


def report(counts: Counts, scored: int, seconds: float) -> None:
    """Log the counts; seconds: that were needed for the rows `scored` now."""
    log.info(
        "%s rows, %s with an error, %s cut at the model's length; %s texts/s",
        *(f"{number:,}" for number in (counts.rows, counts.errors, counts.truncated, round(scored / max(seconds, 1e-9)))),
    )
    if counts.rows and counts.errors == counts.rows:
        log.warning("no row could be classified: is --column right?")


def format_of(source: Path, out: Path, named: str | None) -> str:
    """Return the one format of both files."""
    if named:
        return named
    files = [file for file in (source, out) if file != PIPE]
    kinds = {FORMATS.get(Path(file.name.removesuffix(".gz")).suffix.lower()) for file in files}
    if None in kinds or not kinds:
        raise CannotScore(f"no format is known by the name: end it in {', '.join(FORMATS)}, or give --format")
    if len(kinds) > 1:
        raise CannotScore(f"{source} and {out} are of two formats: the rows come out in the one they came in")
    return str(kinds.pop())


def refuse_paths(source: Path, out: Path, kind: str) -> None:
    """Raise CannotScore for files that cannot be used so."""
    if kind == "parquet" and PIPE in (source, out):
        raise CannotScore("Parquet cannot go through a pipe: name a file")
    for file in (source, out):
        if file != PIPE and file.exists() and not file.is_file():
            raise CannotScore(f"{file} is no regular file: name one, or use - for a pipe")
    if source != PIPE and not source.exists():
        raise CannotScore(f"{source} does not exist: check its path")
    if not out.parent.is_dir():
        raise CannotScore(f"{out.parent} is no folder: make it first")
    if source != PIPE and out.exists() and out.samefile(source):
        raise CannotScore("both files are the same: name another for the answers")


def load(options: argparse.Namespace) -> "Classifier":
    """Load the bundle of the flags, or else of the server's settings."""
    from serving.inference.classifier import Classifier
    from serving.settings import settings_of_environment

    settings = settings_of_environment()
    return Classifier.load(options.model or settings.model, engine=options.engine, threads=options.threads or settings.threads)


def identity_of(source: Path, classifier: "Classifier", kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return all that decides what comes out, by the names it has for the user."""
    return {
        "version of the program": [BLOCK_ROWS, BLOCK_CHARACTERS],
        "input": state_of(source),
        "bundle": classifier.bundle.sha256,
        "engine": classifier.spec.name,
        "format": kind,
        "column": options.column,
        "encoding": options.encoding,
    }


def state_of(file: Path) -> list[int]:
    """Return what changes with a file's content."""
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


def table_of(source: Path, out: Path, kind: str, options: argparse.Namespace, seen: Callable[[int], object]) -> Table:
    """Open the input. seen: is told how many bytes of it have been used."""
    if kind == "parquet":
        return ParquetTable(source, options.column, seen)
    chunks = piped_chunks(seen) if source == PIPE else chunks_of(source, seen)
    return TextTable(rows_of(kind, options.column, options.encoding), chunks, packed=out.suffix == ".gz")


def progress_bar(source: Path) -> Any:
    """Return a bar of the input's bytes on stderr, which is not there when that is no terminal."""
    from tqdm import tqdm

    total = None if source == PIPE else source.stat().st_size
    return tqdm(total=total, unit="B", unit_scale=True, disable=None, file=sys.stderr, smoothing=0)


def encoding(name: str) -> str:
    """Return an encoding of texts that Python knows; UTF-8 may have a byte order mark."""
    try:
        codecs.getincrementaldecoder(name)
        "".encode(name)  # refuses what is no encoding of texts
    except LookupError:
        raise argparse.ArgumentTypeError(f"no encoding is known as {name!r}") from None
    return "utf-8-sig" if codecs.lookup(name).name == "utf-8" else name


def cores(number: str) -> int:
    """Return a number of cores."""
    if not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError("a number from 1 is needed")
    return int(number)


def flags() -> argparse.ArgumentParser:
    """Return the flags of the command."""
    parser = argparse.ArgumentParser("python -m serving.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="IN", help="file with the texts")
    parser.add_argument("out", type=Path, metavar="OUT", help="file for the answers")
    parser.add_argument("--column", default="text", help="name of the column with the texts (%(default)s)")
    parser.add_argument("--format", choices=sorted(set(FORMATS.values())), help="where no file name tells it")
    parser.add_argument("--encoding", type=encoding, default="utf-8", help="of the input (%(default)s; Korean Windows writes cp949)")
    parser.add_argument("--model", type=Path, help="bundle folder (default: that of the server, SENTIMENT_MODEL)")
    parser.add_argument("--engine", help="of the bundle (default: the first that runs here)")
    parser.add_argument("--threads", type=cores, help="cores for inference (default: all cores given)")
    parser.add_argument("--restart", action="store_true", help="begin anew where a part is there already")
    return parser


def main() -> None:
    """Run the command. Exit codes: 1 with a sentence why, 130 interrupted, 143 terminated."""
    options = flags().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    way_on = "Nothing is kept: run it again" if PIPE in (options.source, options.out) else "The same command goes on where it stopped"
    try:
        run(options.source, options.out, options)
    except (CannotScore, InferenceError) as error:
        leave(str(error), 1)
    except OSError as error:
        leave(f"{error.filename or options.out}: {error.strerror or error}. {way_on}", 1)
    except Stopped as stopped:
        leave(f"stopped. {way_on}", 128 + stopped.args[0])


def stop(number: int, _: object) -> None:
    """End in order; a second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(number)


def leave(sentence: str, code: int) -> NoReturn:
    """End with a sentence."""
    print(f"ERROR: {sentence}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
