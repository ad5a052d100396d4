"""The data report shows warnings first and texts as they are, needs no network, and is accessible."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from commands.pictures import browser as chromium
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


def test_warnings_come_first(page):
    text = page.read_text("utf-8")
    warnings = text.partition('aria-label="Warnings"')[2].partition("</section>")[0]
    for sentence in (
        "2 rows have a text that has several labels in the source",
        "1 rows have no text",
        "removed from train",
        "1 texts hold U+FFFD",
        "was read as cp949",
        "The source file has no header: column 0 is the text, column 1 is the label",
        "test has no text of: positive",
        "longer than train.max_length",
    ):
        assert sentence in warnings, sentence
    assert text.index("Warnings") < text.index("Classes in each split")


def test_a_large_group_of_near_duplicates_is_counted_with_a_warning(tmp_path):
    rows = [
        f"{word},{label}" for label in (0, 1) for word in (hashlib.md5(f"{label} {number}".encode()).hexdigest() for number in range(40))
    ]
    rows += [f"the film that we saw was very long {number},1" for number in range(60)]
    source = written(tmp_path, "text,label\n" + "\n".join(rows))
    metrics = process_files(tmp_path, {"source": source}, near_duplicates=0.6)
    assert metrics["largest_group"] == 60
    assert metrics["tokens"]["longest"] == len(" the film that we saw was very long 59"), "the tokenizer puts a blank first"
    assert "60 rows form one group" in (tmp_path / "report.html").read_text("utf-8")


def test_texts_are_shown_as_they_are_and_never_run_as_code(page):
    text = page.read_text("utf-8")
    assert "<script" not in text
    assert "같은 글" in text
    assert "negative 1, positive 1" in text


def test_page_needs_no_network_and_shows_no_path_of_the_machine(page):
    text = page.read_text("utf-8")
    assert not re.search(r"https?://|src=|@import|url\(", text)
    assert str(page.parent) not in text


@contextmanager
def opened(page: Path, width: int, scheme: Literal["light", "dark"] = "light") -> Iterator[Page]:
    """Open a page in Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        tab.goto(page.as_uri())
        yield tab
        browser.close()


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_passes_axe_and_fits_its_window(page, scheme, width):
    with opened(page, width, scheme) as tab:
        found = Axe().run(tab)
        wide = tab.evaluate("document.documentElement.scrollWidth")
        hidden = tab.evaluate("[...document.querySelectorAll('.scroll')].filter(table => table.scrollWidth > table.clientWidth).length")
    assert found.violations_count == 0, found.generate_report()
    assert wide == width
    assert not hidden, "the tables of this page fit a phone"


def test_table_that_is_wider_than_its_window_has_a_shadow_where_it_goes_on(page):
    with opened(page, 260) as tab:
        table = tab.locator(".scroll", has_text="Reason").first
        at_start = table.screenshot()
        table.evaluate("table => table.scrollLeft = table.scrollWidth")
        at_end = table.screenshot()
    assert shaded_edges(at_start) == ["right"]
    assert shaded_edges(at_end) == ["left"]


def shaded_edges(screenshot: bytes) -> list[str]:
    """Return the edges of a table that are darker than white paper, just above the line at its end."""
    image = Image.open(BytesIO(screenshot)).convert("L")
    return [edge for edge, x in (("left", 0), ("right", image.width - 1)) if image.getpixel((x, image.height - 4)) < 230]


@pytest.mark.parametrize(("longest", "max_length"), [(130, 100), (20, 512)])
def test_histogram_with_its_labels_fits_a_phone(tmp_path, longest, max_length):
    rows = [f"{'a' * (number * longest // 30)} {number},{number % 2}" for number in range(30)]
    process_files(tmp_path, {"source": written(tmp_path, "text,label\n" + "\n".join(rows))}, max_length=max_length)
    with opened(tmp_path / "report.html", 390) as tab:
        boxes = [label.bounding_box() for label in tab.locator(".histogram span").all()]
    assert len(boxes) == 9
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)


def test_columns_guessed_in_several_files_are_named_in_a_warning(tmp_path):
    """Before SourceFacts had tuples, the joined values of several files raised a KeyError here."""
    folder = tmp_path / "shards"
    folder.mkdir()
    written(folder, TABLE.replace("text,label", "words,label"), "1.csv")
    written(folder, TABLE.replace("film", "meal").replace("text,label", "text,verdict"), "2.csv")
    process_files(tmp_path, {"source": folder})
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "no known name for the column of the text and label: &#39;words | text&#39; and &#39;label | verdict&#39;" in page


def test_dropped_and_corrected_rows_point_to_the_files_of_the_stage(tmp_path):
    corrections = written(tmp_path, "text,label\nfilm 1 was good,\n", "my_corrections.csv")
    process_files(tmp_path, {"source": written(tmp_path, TABLE)}, corrections=corrections)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "my_corrections.csv removes the text" in page
    assert "dropped.csv lists all of them" in page
