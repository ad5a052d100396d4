"""The page of `dvc plots` has Vega in it, and DVC uses it. Its plots show what a person looks for."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from ruamel.yaml import YAML

from commands.pictures import browser as chromium
from tests.running import ROOT, run_command

COUNTS = {("bad", "bad"): 31, ("bad", "good"): 4, ("good", "good"): 52}  # (true, predicted) -> texts
LOSS = {"train_loss": 0.5, "validation_loss": 0.3, "validation_calibrated_loss": 0.3}
WIDTHS = """lines => lines.map(line => line.getAttribute("stroke-width") + " " + line.getAttribute("stroke-dasharray"))"""
SIZES = """frames => frames.map(frame => { const {width, height} = frame.getBBox(); return [width, height]; })"""


def test_page_has_vega_in_it_and_dvc_uses_it(repository: Path) -> None:
    done = run_command(sys.executable, "-m", "commands.offline_plots", cwd=repository, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    page = (repository / ".dvc/plots.html").read_text("utf-8")
    assert "vegaEmbed" in page
    assert "{plot_divs}" in page, "DVC fills this place"
    assert "<script src=" not in page
    config = run_command(sys.executable, "-m", "dvc", "config", "plots.html_template", cwd=repository)
    assert config.stdout.strip().endswith("plots.html")


def test_config_that_dvc_refuses_is_an_error_message_whose_remedy_works(repository: Path) -> None:
    command = (sys.executable, "-m", "commands.offline_plots")
    config = repository / ".dvc/config.local"
    config.write_text("[plots", "utf-8")
    done = run_command(*command, cwd=repository, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    assert "correct .dvc/config.local, then run the same command again" in done.stderr
    config.write_text("[plots]\n", "utf-8")
    assert run_command(*command, cwd=repository, PYTHONPATH=str(ROOT)).returncode == 0


def test_folder_without_dvc_is_an_error_message(tmp_path: Path) -> None:
    done = run_command(sys.executable, "-m", "commands.offline_plots", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ")
    assert "Traceback" not in done.stderr


@pytest.fixture
def plots(repository: Path) -> Path:
    """The page of the plots of dvc.yaml, with two classes and two losses that coincide."""
    graph = YAML(typ="safe").load(ROOT / "dvc.yaml")
    of_stages = [plot for stage in graph["stages"].values() for plot in stage.get("plots", [])]
    own = [{file: {key: value for key, value in look.items() if key != "cache"}} for plot in of_stages for file, look in plot.items()]
    YAML().dump({"plots": own + graph["plots"]}, repository / "dvc.yaml")
    shutil.copytree(ROOT / ".dvc/plots", repository / ".dvc/plots")
    (repository / "metrics").mkdir()
    rows = [pair for pair, count in COUNTS.items() for _ in range(count)]
    (repository / "metrics/confusion.csv").write_text("true,predicted\n" + "".join(f"{true},{predicted}\n" for true, predicted in rows))
    (repository / "metrics/roc.csv").write_text("false_positive_rate,true_positive_rate\n0,0\n0.1,0.9\n1,1\n")
    (repository / "data").mkdir(exist_ok=True)
    (repository / "data/training.json").write_text(json.dumps({"curve": [LOSS | {"epoch": epoch} for epoch in (1, 2)]}))
    for command in (["commands.offline_plots"], ["dvc", "plots", "show"]):
        done = run_command(sys.executable, "-m", *command, cwd=repository, PYTHONPATH=str(ROOT))
        assert done.returncode == 0, done.stderr
    return repository / "dvc_plots/index.html"


def test_plots_show_numbers_chance_and_each_of_two_equal_curves_on_a_screen_and_a_phone(plots: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1300, "height": 900})
        tab.goto(plots.as_uri())
        tab.wait_for_function("document.querySelectorAll('svg.marks').length === 3")
        matrix, roc, curves = (tab.locator("svg.marks", has_text=title) for title in ("Confusion matrix", "ROC", "Learning curve"))
        numbers = matrix.locator(".mark-text.role-mark text").all_text_contents()
        words = roc.locator("text").all_text_contents()
        lines = curves.locator(".mark-line.role-mark path").evaluate_all(WIDTHS)
        frames = [size for size in tab.locator("path.background").evaluate_all(SIZES) if min(size) > 100]  # the others are of legends
        tab.set_viewport_size({"width": 390, "height": 900})
        on_a_phone = [plot.bounding_box() for plot in (matrix, roc, curves)]
        browser.close()
    assert sorted(numbers, key=int) == ["0", "4", "31", "52"]
    assert {"chance", "false positive rate", "true positive rate"} <= set(words)
    assert len(set(lines)) == len(lines) == 3, "equal curves differ in width or dashes"
    assert len(frames) >= 3
    assert {round(side) for frame in frames for side in frame} == {300}, "all frames have one size"
    assert all(box and box["x"] + box["width"] <= 390 for box in on_a_phone)
