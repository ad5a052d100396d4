"""Cells that begin like a formula are escaped, and come back as they were."""

import pytest

from stages.shared.spreadsheet import escape_formula, unescape_formula


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\t=1", "plain", "'quoted'", "'=1", "''=1", "'-' good", ""])
def test_an_escaped_cell_comes_back(cell):
    assert not escape_formula(cell).startswith(("=", "+", "-", "@", "\t"))
    assert unescape_formula(escape_formula(cell)) == cell
