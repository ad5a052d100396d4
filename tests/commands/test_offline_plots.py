"""The page of `dvc plots` has Vega in it, and DVC uses it."""

import sys
from pathlib import Path

from tests.running import ROOT, run_command


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
