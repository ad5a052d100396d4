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

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Sentiment-Ops plots</title>
<style>body { font-family: system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; color: #1f2430 }</style>
<script>(() => { {javascript} })()</script>
</head>
<body>
<h1>Plots</h1>
{plot_divs}
</body>
</html>
"""


def write_page(page: Path) -> None:
    """Write the page, with Vega in it, and make DVC use it."""
    import vl_convert

    javascript = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", r"<\/script")
    page.write_text(PAGE.replace("{javascript}", javascript), "utf-8")
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
