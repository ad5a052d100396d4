"""Cells that a spreadsheet would run as a formula, in the CSV files that people open (OWASP: CSV injection).

In: the text of a cell. Out: the same text, made harmless by an apostrophe, or restored.
"""

STARTS = ("=", "+", "-", "@", "\t", "\r")


def escape_formula(cell: str) -> str:
    """Return a cell that a spreadsheet shows as text: a formula gets an apostrophe in front."""
    return f"'{cell}" if cell.lstrip("'").startswith(STARTS) else cell


def unescape_formula(cell: str) -> str:
    """Return the cell as it was before `escape_formula`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(STARTS) else cell
