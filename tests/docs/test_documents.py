"""The documents: links lead somewhere, generated pages are those of the code, README states what was measured."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from serving.web.application import VERSION
from stages import preprocess
from tests.running import ROOT, read_json, run_command

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
LISTED = run_command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md").stdout.split()
DOCUMENTS = sorted(ROOT / name for name in LISTED if (ROOT / name).exists())
READMES = ("README.md", "README.ko.md")
README = (ROOT / "README.md").read_text("utf-8")


def prose(file: Path) -> str:
    """Return the text of a document without blocks of code."""
    return re.sub(r"```.*?```", "", file.read_text("utf-8"), flags=re.DOTALL)


def anchors(file: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(file), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_links_lead_to_a_file_and_a_heading(file: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", prose(file)):
        link = "".join(target)
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        place = (file.parent / path).resolve() if path else file
        assert place.exists(), link
        assert not anchor or anchor in anchors(place), link


def test_generated_pages_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from commands.reference import pages

    monkeypatch.chdir(ROOT)
    stale = [str(file) for file, content in pages().items() if file.read_text("utf-8") != content]
    assert stale == [], "type make reference"


@pytest.mark.parametrize("stage", GRAPH)
def test_flags_of_a_stage_are_those_that_dvc_gives_it(stage: str) -> None:
    flags = " ".join(re.findall(r"--[a-z-]+", GRAPH[stage]["cmd"]))
    assert f"| `python -m stages.{stage}` | `{flags}` |" in (ROOT / "docs/reference/commands.md").read_text("utf-8")


def test_comments_of_params_fit_on_their_line() -> None:
    assert [line for line in (ROOT / "params.yaml").read_text("utf-8").splitlines() if len(line) > 100] == []


def test_korean_table_of_stages_is_the_graph() -> None:
    table = (ROOT / "README.ko.md").read_text("utf-8").partition("<!-- stages: begin -->")[2].partition("<!-- stages: end -->")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(GRAPH)


@pytest.mark.parametrize("readme", READMES)
def test_readme_has_the_committed_figures(readme: str) -> None:
    """`make run` changes metrics/ on a CPU that gives other weights, so the last commit counts, unless the README changes too."""
    file = "metrics/evaluate.json"
    is_changed = run_command("git", "status", "--porcelain", readme).stdout != ""
    metrics = read_json(ROOT / file) if is_changed else json.loads(run_command("git", "show", f"HEAD:{file}").stdout)
    report, intervals, gain = (ROOT / readme).read_text("utf-8"), metrics["intervals"], metrics["baseline"]["gain"]
    for key in ("accuracy", "f1"):
        value, low, high = (f"{100 * share:.1f}" for share in (metrics[key], *intervals[key]))
        assert re.search(rf"{re.escape(value)} % .*{re.escape(low)} (?:to|~) {re.escape(high)}", report), key
    assert f"{100 * (metrics['accuracy'] - gain):.1f} %" in report
    assert f"{100 * gain:+.1f}" in report
    low, high = (f"{100 * share:+.1f}" for share in intervals["baseline"]["gain"])
    assert re.search(rf"{re.escape(low)}(?: to |~){re.escape(high)}", report)


@pytest.mark.parametrize("readme", READMES)
def test_readme_leads_to_the_plots_and_to_each_target_of_the_korean_corpus(readme: str) -> None:
    text = (ROOT / readme).read_text("utf-8")
    assert "dvc plots show" in text
    assert "`preprocess.aihub_target`" in text
    assert all(f"`{target}`" in text for target in get_args(preprocess.PreprocessParams.model_fields["aihub_target"].annotation))


def test_version_is_the_newest_of_the_changelog() -> None:
    newest = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[0]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == VERSION == newest


def test_readme_states_what_the_tables_of_results_show() -> None:
    quality, performance = ((ROOT / f"docs/results/{name}.md").read_text("utf-8") for name in ("quality", "performance"))
    table = quality.partition("<!-- transfer: begin -->")[2].partition("<!-- transfer: end -->")[0]
    rows = re.findall(r"^\| [^|]+ \| (\d+) \| ([\d.]+) % \| [^|]+ \| ([\d.]+) % \|", table, re.MULTILINE)
    assert len(rows) == 4
    accuracies, gains = [float(row[1]) for row in rows], [float(row[1]) - float(row[2]) for row in rows]
    texts, low, high = sum(int(row[0]) for row in rows), round(min(accuracies)), round(max(accuracies))
    assert f"{texts:,} texts of other sources" in README
    assert f"{low} to {high} %, {round(min(gains))} to {round(max(gains))} points more than the baseline" in README
    serving = performance.partition("<!-- serving: begin -->")[2].partition("<!-- serving: end -->")[0]
    lines = [re.split(r" \| ", line.strip("| ")) for line in serving.strip().splitlines()[2:] if line.startswith("|")]
    rates = {(server, engine): rest for server, engine, *rest in lines}
    ours, plain = rates["Sentiment-Ops", "openvino-int8"], rates["plain recipe", "torch-fp32"]
    assert f"{ours[1].removesuffix(' x')} times the requests" in README
    assert (f"**{ours[5]}**" in README, f"| {plain[5]} |" in README) == (True, True)
    training = performance.partition("<!-- training: begin -->")[2].partition("<!-- training: end -->")[0]
    (own,) = re.findall(r"^\| `train`[^|]*\| ([\d,]+) \| \d+ \| ([\d.]+) x", training, re.MULTILINE)
    assert f"**{own[0]}**" in README
    assert f"{own[1]} times the training tokens" in README


def test_training_recipe_names_the_defaults_of_params() -> None:
    page = (ROOT / "docs/concepts/training-recipe.md").read_text("utf-8")
    stated = dict(re.findall(r"\| `train\.(\w+)` ([\w.-]+),?", page))
    assert stated.keys() >= {"epochs", "batch_size", "learning_rate", "max_length", "precision"}
    for name, value in stated.items():
        assert value == str(PARAMS["train"][name]), name


def test_command_for_two_hosts_is_that_of_the_graph() -> None:
    command = GRAPH["train"]["cmd"].replace('"${train.teacher}"', PARAMS["train"]["teacher"])
    assert command in " ".join((ROOT / "docs/how-to/several-processes.md").read_text("utf-8").replace("\\\n", " ").split())


def test_make_verbs_of_the_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for file in DOCUMENTS:
        for verb in re.findall(r"(?:^ {4}|`)make ([a-z-]+)\b", file.read_text("utf-8"), re.MULTILINE):
            assert re.search(rf"^{verb}:.*## ", makefile, re.MULTILINE), (file, verb)


def test_every_make_verb_is_described() -> None:
    verbs = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    described = re.findall(r"^\| `make ([a-z-]+)` \|", (ROOT / "docs/reference/commands.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(verbs) == sorted(described)


def test_private_parts_of_libraries_have_the_tests_that_the_table_names() -> None:
    table = (ROOT / "docs/concepts/architecture.md").read_text("utf-8").partition("## Private parts of libraries")[2]
    names = re.findall(r"\| `(test_\w+)` \|$", table, re.MULTILINE)
    code = "".join(file.read_text("utf-8") for file in ROOT.glob("tests/**/test_*.py"))
    assert len(names) >= 10
    assert [name for name in names if f"def {name}(" not in code] == []
