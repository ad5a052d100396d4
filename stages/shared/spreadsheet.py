"""Cells that a spreadsheet would run as a formula, in CSV files that people open with one (OWASP, CSV injection)."""

STARTS = ("=", "+", "-", "@", "\t", "\r")


def escape_formula(cell: str) -> str:
    """Return a cell that a spreadsheet shows as it is: with an apostrophe before what would be a formula."""
    return f"'{cell}" if cell.lstrip("'").startswith(STARTS) else cell


def unescape_formula(cell: str) -> str:
    """Return what `escape_formula` was given."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(STARTS) else cell
