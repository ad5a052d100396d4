"""Reports on the console: texts and tables of rich come in, plain text goes out.

A report is the same on every terminal and in a file: 100 columns wide, without colours. rich knows that Hangul is two columns wide.
"""

import sys
from collections.abc import Iterable
from io import StringIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Column, Table

from stages.shared.environment import read_environment

WIDTH = 100  # columns of a report
NAME_WIDTH = 24  # columns of a class name at most: the longest name of the AI Hub corpus


def show(text: str) -> None:
    """Print a report, unless SENTIMENT_REPORT=later says that the caller prints the saved reports."""
    if read_environment().report == "now":
        encoding = sys.stdout.encoding or "utf-8"  # a console without Hangul gets the report with replacement characters
        print(text.encode(encoding, "replace").decode(encoding), end="")


def render(parts: Iterable[RenderableType]) -> str:
    """Return the parts as text, with an empty line between them and no spaces at the ends of lines."""
    stream = StringIO()
    console = Console(file=stream, width=WIDTH, color_system=None, markup=False, emoji=False, highlight=False)
    for number, part in enumerate(parts):
        console.print(*([""] if number else []), part, sep="\n")
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def title(text: str) -> str:
    """Return a title with a line below it."""
    return f"{text}\n{'=' * cell_len(text)}"


def table(*columns: Column, header: bool = True) -> Table:
    """Return an empty table without lines, two spaces between its columns."""
    has_rest = any(column.ratio for column in columns)
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=header, expand=has_rest)


def name(header: str = "", *, max_width: int | None = NAME_WIDTH) -> Column:
    """Return a column of names, which are cut at `max_width`."""
    return Column(header, no_wrap=True, max_width=max_width)


def number(header: str = "") -> Column:
    """Return a column of numbers; a header that is too wide continues on the next line."""
    return Column(header, justify="right")


def text(header: str = "") -> Column:
    """Return a column that takes the rest of the width; longer texts are cut."""
    return Column(header, no_wrap=True, ratio=1)
