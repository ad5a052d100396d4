"""The command that makes `dvc plots` work without a network: DVC's own page loads Vega from a CDN, ours contains it.

Writes .dvc/plots.html and points .dvc/config.local of this checkout at it; git ignores both.
`make install` runs it: `python -m commands.offline_plots`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from commands.dvc import error_messages
from stages.shared.errors import StageError

PAGE = Path(__file__).with_suffix(".html")
# How the page draws: as SVG, in its own colours. "rev", the title that DVC gives a legend, goes.
EMBED = """
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name);
window.vegaEmbed = (element, spec) => vegaEmbed(element, spec, {renderer: "svg", config: {
  background: "transparent",
  font: "system-ui, 'Noto Sans KR', NanumGothic, sans-serif",
  title: {anchor: "start", fontSize: 16, color: colour("--ink"), offset: 12},
  axis: {labelColor: colour("--muted"), labelFontSize: 12, titleColor: colour("--muted"), titleFontSize: 13, titleFontWeight: "normal",
    gridColor: colour("--line"), domainColor: colour("--line"), tickColor: colour("--line")},
  header: {labelColor: colour("--muted"), labelFontSize: 12},
  legend: {orient: "bottom", columns: 1, title: null, labelColor: colour("--ink"), labelFontSize: 12, labelLimit: 240,
    titleColor: colour("--muted"), titleFontSize: 12, titleFontWeight: "normal"},
  view: {stroke: null},
}});
"""


def write_page(page: Path) -> None:
    """Write the page, with Vega in it, and make DVC use it."""
    import vl_convert

    javascript = vl_convert.javascript_bundle(EMBED).replace("</script", r"<\/script")
    page.write_text(PAGE.read_text("utf-8").replace("{javascript}", javascript), "utf-8")
    config = [sys.executable, "-m", "dvc", "config", "--local", "--quiet", "plots.html_template", page.name]
    if subprocess.run(config).returncode:
        raise StageError(f"DVC refuses {page} as its page of plots (see above): correct .dvc/config.local, then run the same command again")


def main() -> None:
    """Write the page into the project that we are in."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with error_messages("run the same command again"):
        write_page(Path(".dvc/plots.html"))


if __name__ == "__main__":
    main()
