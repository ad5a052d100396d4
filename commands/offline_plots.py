"""Make `dvc plots` work without a network: DVC's page loads Vega from a CDN, ours carries it.

Writes .dvc/plots.html and points this checkout's .dvc/config.local at it; neither is in git.
Run once after the installation: `python -m commands.offline_plots`.
"""

import subprocess
import sys
from pathlib import Path

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


def main() -> None:
    import vl_convert

    page = Path(".dvc/plots.html")
    javascript = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", r"<\/script")
    page.write_text(PAGE.replace("{javascript}", javascript), "utf-8")
    subprocess.run([sys.executable, "-m", "dvc", "config", "--local", "--quiet", "plots.html_template", "plots.html"], check=True)


if __name__ == "__main__":
    main()
