"""`make pictures`: takes screenshots of the reports for the README, in light and dark, with the system's Chromium.

Reads data/report.html and data/evaluation.txt; writes docs/images/reports-{light,dark}.png.
"""

import argparse
import html
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path("docs/images")
PAGE = Path("data/report.html")
REPORT = Path("data/evaluation.txt")
LINES = 36  # of the evaluation report
WIDTH, HEIGHT = 1500, 760  # CSS pixels
INK = {"light": ("#ffffff", "#1f2430", "#d0d7de"), "dark": ("#161b22", "#e6edf3", "#30363d")}  # background, text, border
FRAME = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: {paper}; display: grid; grid-template-columns: 1fr 1fr; gap: 20px; width: {width}px; height: {height}px }}
figure {{ margin: 0; border: 1px solid {border}; border-radius: 8px; overflow: hidden; height: {inner}px }}
iframe {{ border: 0; width: 1000px; height: 1100px; transform: scale(.74); transform-origin: 0 0 }}
pre {{ margin: 0; padding: 20px 16px; font: 11.3px/1.62 "DejaVu Sans Mono", monospace; color: {ink} }}
</style><figure><iframe src="{page}"></iframe></figure><figure>{report}</figure>"""


def browser() -> str:
    """Return the system's browser: Chromium or Chrome, on the path or among macOS applications."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    applications = [Path(f"/Applications/{name}.app/Contents/MacOS/{name}") for name in ("Chromium", "Google Chrome")]
    found = [path for name in names if (path := shutil.which(name))] + [str(file) for file in applications if file.exists()]
    if not found:
        raise SystemExit("ERROR: Chromium or Chrome is needed: `make test` says how to install one")
    return found[0]


def terminal() -> str:
    """Return the head of the evaluation report as it stands on a console."""
    lines = REPORT.read_text("utf-8").splitlines()[:LINES]
    return f"<pre><b>$ make run</b>\n...\n\n{html.escape(chr(10).join(lines))}</pre>"


def main() -> None:
    """Take one picture for each colour scheme."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        for scheme, (paper, ink, border) in INK.items():
            page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            frame = Path("data/.pictures.html")
            frame.write_text(
                FRAME.format(
                    paper=paper, ink=ink, border=border, width=WIDTH, height=HEIGHT, inner=HEIGHT - 2, page=PAGE.name, report=terminal()
                ),
                "utf-8",
            )
            page.goto(frame.resolve().as_uri())
            page.wait_for_load_state("networkidle")
            page.screenshot(path=IMAGES / f"reports-{scheme}.png")
            frame.unlink()
        chromium.close()


if __name__ == "__main__":
    main()
