"""The data report says first what is wrong, shows texts as they are, needs no network, and can be read by everybody."""

import hashlib
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.conftest import chromium
from tests.stages.test_preprocess import TABLE, process_files, written


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a table with one of everything: cp949, no header, conflicts, duplicates, leaks, markup, a long text."""
    folder = tmp_path_factory.mktemp("report")
    rows = TABLE.splitlines()[1:]
    rows += ["같은 글,positive", "같은 글,negative", "FILM 1 was good,positive", " ,negative", "<script>alert(1)</script> & <b>,positive"]
    rows += [f"{'길다 ' * 200}{number},negative" for number in range(6)]
    rows += ["the film was really very good today,positive", "the film was really very good today!,positive"]
    source = written(folder, "\n".join(rows).encode("cp949"))
    test = written(folder, "text,label\nfilm 5 was bad,negative\nfilm \ufffd was lost,negative\n", "test.csv")
    process_files(folder, {"source": source, "test": test}, near_duplicates=0.8)
    return folder / "report.html"


def test_what_is_wrong_stands_first(page):
    text = page.read_text("utf-8")
    warnings = text.partition('aria-label="Warnings"')[2].partition("</section>")[0]
    for sentence in (
        "2 rows have a text that stands in the source with several labels",
        "1 rows have no text",
        "taken out of train",
        "1 texts hold the sign U+FFFD",
        "was read as cp949",
        "The source file has no header: column 0 is the text, 1 the label",
        "test has no text of: positive",
        "longer than train.max_length",
    ):
        assert sentence in warnings, sentence
    assert text.index("Warnings") < text.index("Classes in each split")


def test_texts_that_hang_together_are_warned_of_and_counted(tmp_path):
    rows = [
        f"{word},{label}" for label in (0, 1) for word in (hashlib.md5(f"{label} {number}".encode()).hexdigest() for number in range(40))
    ]
    rows += [f"the film that we saw was very long {number},1" for number in range(60)]
    source = written(tmp_path, "text,label\n" + "\n".join(rows))
    metrics = process_files(tmp_path, {"source": source}, near_duplicates=0.6)
    assert metrics["largest_group"] == 60
    assert metrics["tokens"]["longest"] == len(" the film that we saw was very long 59"), "with the blank that the tokenizer puts first"
    assert "60 rows hang together" in (tmp_path / "report.html").read_text("utf-8")


def test_texts_are_shown_as_they_are_and_never_run(page):
    text = page.read_text("utf-8")
    assert "<script" not in text
    assert "같은 글" in text
    assert "negative 1, positive 1" in text


def test_page_needs_no_network_and_says_nothing_of_the_machine(page):
    text = page.read_text("utf-8")
    assert not re.search(r"https?://|src=|@import|url\(", text)
    assert str(page.parent) not in text


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_passes_axe_and_fits_its_window(page, scheme, width):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        tab.goto(page.as_uri())
        found = Axe().run(tab)
        wide = tab.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert found.violations_count == 0, found.generate_report()
    assert wide == width, "tables scroll within the page"
