"""The documents that the benchmarks write, and the functions that put a table into them."""

from pathlib import Path

from serving.inference.cpu import multiplies_int8

PERFORMANCE = Path("docs/results/performance.md")
QUALITY = Path("docs/results/quality.md")
RELIABILITY = Path("docs/results/reliability.md")
SCALING = Path("docs/results/scaling.md")


def write_table(name: str, table: str, document: Path) -> None:
    """Print the table and put it between `<!-- name: begin -->` and `<!-- name: end -->` of the document."""
    print(table)
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = document.read_text("utf-8").partition(begin)
    if not rest:
        raise SystemExit(f"ERROR: {document} has no markers for the table {name}: add {begin} and {end}")
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{table}\n{end}{after}", "utf-8")


def write_speeds(name: str, table: str, document: Path = PERFORMANCE) -> None:
    """Write a table of speeds under the name for this CPU: with or without INT8 instructions."""
    write_table(name if multiplies_int8() else f"{name} without INT8", table, document)
