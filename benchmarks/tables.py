"""Put a measured table into the document that states it."""

from pathlib import Path

from serving.inference.machine import multiplies_int8

PERFORMANCE = Path("docs/performance.md")
QUALITY = Path("docs/quality.md")


def write_table(name: str, table: str, document: Path) -> None:
    """Print the table and put it between `<!-- name: begin -->` and `<!-- name: end -->` of the document."""
    print(table)
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = document.read_text("utf-8").partition(begin)
    if not rest:
        raise SystemExit(f"ERROR: {document} has no marks for the table {name}")
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{table}\n{end}{after}", "utf-8")


def write_speeds(name: str, table: str) -> None:
    """Write a table of speeds, of which CPUs with and without INT8 instructions have one each."""
    write_table(name if multiplies_int8() else f"{name} without INT8", table, PERFORMANCE)
