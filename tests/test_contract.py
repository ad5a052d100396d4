"""What must agree does: files, graph, imports, params, README."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from stages.shared.training.lineage import own_imports
from tests.conftest import ROOT, read_json, run_command

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
STAGES = sorted(GRAPH)
DOCUMENTS_OF_COST = ("README.md", "README.ko.md", "docs/results/performance.md")
# They print, name and mirror. tests/test_pipeline.py shows that the outputs stay the same when they change.
CANNOT_CHANGE_A_RESULT = ("command.py", "errors.py", "project.py", "tracking.py")
HEAVY = {"torch", "transformers", "mlflow", "pandas", "sklearn", "matplotlib", "datasets", "scipy"}


def test_stage_files_are_the_graph() -> None:
    assert sorted(file.stem for file in ROOT.glob("stages/*.py") if file.stem != "__init__") == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_every_import_of_a_stage_has_a_dep_and_every_dep_an_import(stage: str) -> None:
    imported = {file.relative_to(ROOT) for file in own_imports(ROOT / "stages" / f"{stage}.py")}
    needed = {file for file in imported if file.name not in CANNOT_CHANGE_A_RESULT}
    deps = {Path(dep) for dep in GRAPH[stage]["deps"] if dep.startswith(("stages/", "serving/"))}
    covered = {file: {dep for dep in deps if file.is_relative_to(dep)} for file in needed}
    assert [file for file, by in covered.items() if len(by) != 1] == []
    assert deps == set().union(*covered.values())


def test_rooms_that_are_deps_leave_their_errors_out() -> None:
    from dvc.repo import Repo

    ignored = Repo(str(ROOT)).dvcignore
    rooms = {ROOT / dep for stage in GRAPH.values() for dep in stage["deps"] if (ROOT / dep).is_dir() and dep.startswith("stages/")}
    errors = [file for room in rooms for file in room.rglob("errors.py")]
    assert errors
    assert all(ignored.is_ignored_file(str(file)) for file in errors)
    assert not any(ignored.is_ignored_file(str(file)) for room in rooms for file in room.rglob("*.py") if file.name != "errors.py")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_its_params_its_metrics_and_itself(stage: str) -> None:
    definition = GRAPH[stage]
    assert stage in definition["params"]
    assert f"python -m stages.{stage} " in definition["cmd"]
    assert definition["desc"]
    if stage != "base_model":
        assert {f"metrics/{stage}.json": {"cache": False}} in definition["metrics"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_in_a_command_is_a_dep_or_an_output(stage: str) -> None:
    definition = GRAPH[stage]
    declared = {*definition["deps"], *definition.get("outs", []), "params.yaml"}
    declared |= {path for kind in ("metrics", "plots") for entry in definition.get(kind, []) for path in entry}
    flags = re.findall(r"--[a-z-]+ (\S+)", definition["cmd"])
    mirrored_only = {"metrics/preprocess.json"} if stage == "train" else set()
    assert {flag.strip('"') for flag in flags} - declared == mirrored_only


def test_metrics_in_git_are_those_that_the_stages_write() -> None:
    written = {path for stage in GRAPH.values() for kind in ("metrics", "plots") for entry in stage.get(kind, []) for path in entry}
    listed = run_command("git", "ls-files", "metrics").stdout.split()
    assert set(listed) == written


def test_params_have_a_section_per_stage() -> None:
    assert sorted(PARAMS) == STAGES


def test_every_param_is_known_to_its_stage_and_none_is_missing() -> None:
    from stages.base_model import BaseModelParams
    from stages.emotion_distribution import EmotionParams
    from stages.evaluate import EvaluateParams
    from stages.export import ExportParams
    from stages.label_noise import LabelNoiseParams
    from stages.preprocess import PreprocessParams
    from stages.train import TrainParams

    models = {
        "base_model": BaseModelParams,
        "emotion_distribution": EmotionParams,
        "evaluate": EvaluateParams,
        "export": ExportParams,
        "label_noise": LabelNoiseParams,
        "preprocess": PreprocessParams,
        "train": TrainParams,
    }
    assert {name: set(PARAMS[name]) for name in STAGES} == {name: set(model.model_fields) for name, model in models.items()}


def test_readme_table_is_the_graph() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    table = readme.partition("<!-- stages: begin -->")[2].partition("<!-- stages: end -->")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE))
    assert rows == {name: definition["desc"] for name, definition in GRAPH.items()}


def test_readme_names_the_defaults_of_params() -> None:
    for readme in ("README.md", "README.ko.md"):
        stated = dict(re.findall(r"\| `train\.(\w+)` ([\w.-]+),?", (ROOT / readme).read_text("utf-8")))
        assert stated.keys() >= {"epochs", "batch_size", "learning_rate", "max_length", "precision"}
        for name, value in stated.items():
            actual = PARAMS["train"][name]
            assert (value == actual) if isinstance(actual, str) else (float(value.rstrip(",")) == float(actual)), (readme, name)


def test_readme_report_has_the_committed_figures() -> None:
    metrics = read_json(ROOT / "metrics/evaluate.json")
    report = (
        (ROOT / "README.md").read_text("utf-8").partition("    Evaluation of the served model")[2].partition("    Sample predictions")[0]
    )
    stated = {name.strip(): float(value) for name, value in re.findall(r"^    ([\w ()-]+?) +(\d+\.\d+)(?: %|$)", report, re.MULTILINE)}
    expected = {"Accuracy": metrics["accuracy"], "F1 (macro)": metrics["f1"], "Linear baseline": metrics["baseline"]["accuracy"]}
    expected |= {"Precision": metrics["precision"], "Recall": metrics["recall"], "fp32 engine": metrics["fp32_accuracy"]}
    assert {name: stated[name] for name in expected} == {name: round(100 * value, 1) for name, value in expected.items()}
    assert stated["ROC-AUC"] == round(metrics["roc_auc"], 3)
    intervals = {(f"{100 * metrics[f'{key}_low']:.1f}", f"{100 * metrics[f'{key}_high']:.1f}") for key in ("accuracy", "f1")}
    assert set(re.findall(r"95 % interval (\S+) to (\S+)", report)) == intervals
    classes = re.findall(r"^    (\w+) +([\d.]+) % +([\d.]+) % +([\d.]+) % +(\d+)$", report, re.MULTILINE)
    shown = {name: [f"{100 * values[key]:.1f}" for key in ("precision", "recall", "f1")] for name, values in metrics["classes"].items()}
    assert {name: [*shares] for name, *shares, _ in classes} == shown


def test_readme_states_what_the_transfer_table_shows() -> None:
    table = (
        (ROOT / "docs/results/quality.md")
        .read_text("utf-8")
        .partition("<!-- transfer: begin -->")[2]
        .partition("<!-- transfer: end -->")[0]
    )
    rows = re.findall(r"^\| [^|]+ \| (\d+) \| ([\d.]+) % \| [^|]+ \| ([\d.]+) % \|", table, re.MULTILINE)
    assert len(rows) == 4
    accuracies, gains = [float(row[1]) for row in rows], [float(row[1]) - float(row[2]) for row in rows]
    texts, low, high, least, most = sum(int(row[0]) for row in rows), min(accuracies), max(accuracies), min(gains), max(gains)
    english, korean = (" ".join((ROOT / name).read_text("utf-8").split()) for name in ("README.md", "README.ko.md"))
    assert f"{texts:,} texts of other sources" in english
    assert f"{int(low)} to {int(high)} %, {round(least)} to {round(most)} points more than the linear baseline" in english
    assert f"{texts:,}개" in korean
    assert f"{int(low)}~{int(high)} %" in korean
    assert f"{round(least)}~{round(most)}점" in korean


def test_the_cost_of_a_run_is_the_same_in_every_document() -> None:
    times = [re.findall(r"(\d+)\s?(?:min|분) (\d+)\s?(?:s|초)", (ROOT / name).read_text("utf-8")) for name in DOCUMENTS_OF_COST]
    assert times[0]
    assert times[0] == times[1] == times[2]


def test_the_command_for_two_hosts_is_that_of_the_graph() -> None:
    command = GRAPH["train"]["cmd"].replace('"${train.teacher}"', PARAMS["train"]["teacher"])
    assert command in " ".join((ROOT / "docs/results/scaling.md").read_text("utf-8").replace("\\\n", " ").split())


def test_readme_table_of_routes_is_the_openapi_document() -> None:
    from serving.app import create_app

    rows = dict(re.findall(r"^\| `((?:GET|POST) /[\w/]*)` \| (.+) \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    document = create_app().openapi()
    routes = {
        f"{method.upper()} {path}": route["summary"] for path, methods in document["paths"].items() for method, route in methods.items()
    }
    assert rows == routes


def test_readme_table_of_settings_is_that_of_the_server() -> None:
    from serving.settings import Settings

    rows = re.findall(r"^\| `SENTIMENT_(\w+)` \| `?([^|`]+)`? \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [name.lower() for name, _ in rows] == list(Settings.model_fields)
    for name, stated in rows:
        default = Settings.model_fields[name.lower()].default
        nothing = "all cores given" if name == "THREADS" else "none"
        expected = nothing if default is None else "[]" if default == () else str(default).lower()
        assert stated.strip() == expected, name


def test_korean_readme_has_the_same_clients_routes_and_stages() -> None:
    english, korean = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.ko.md"))
    for pattern in (r"<!-- client: \w+ -->\n```\w+\n.*?```", r"^\| `(?:GET|POST) /[\w/]*`", r"^\| `[a-z_]+` \|"):
        found = re.findall(pattern, english, re.DOTALL | re.MULTILINE)
        assert found
        assert found == re.findall(pattern, korean, re.DOTALL | re.MULTILINE)


def test_default_labels_are_those_that_stand_for_no_choice() -> None:
    from stages.shared.classes import BINARY

    assert tuple(PARAMS["preprocess"]["labels"]) == BINARY


def test_readme_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for readme in ("README.md", "README.ko.md"):
        for verb in re.findall(r"\bmake ([a-z]+)\b", (ROOT / readme).read_text("utf-8")):
            assert re.search(rf"^{verb}:.*## ", makefile, re.MULTILINE), (readme, verb)


def test_requirements_are_pinned_with_a_reason() -> None:
    for file in ROOT.glob("**/requirements.txt"):
        if any(part.startswith(".venv") for part in file.relative_to(ROOT).parts):
            continue
        for line in file.read_text("utf-8").splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert re.match(r"^[\w.-]+(\[\w+\])?==[\w.+]+(;.*?)?  # \S", line), (file, line)


def test_init_files_are_empty() -> None:
    files = [file for folder in ("commands", "stages", "serving") for file in ROOT.glob(f"{folder}/**/__init__.py")]
    assert files
    assert [file for file in files if file.read_text("utf-8")] == []


@pytest.mark.parametrize("stage", STAGES)
def test_help_imports_nothing_heavy(stage: str) -> None:
    script = f"import sys, runpy\nsys.argv = ['x', '--help']\ntry: runpy.run_module('stages.{stage}', run_name='__main__')\n"
    script += f"except SystemExit: pass\nprint(sorted({HEAVY!r} & set(sys.modules)))"
    assert run_command(sys.executable, "-c", script).stdout.strip().endswith("[]")


def test_committed_lock_is_of_the_committed_files() -> None:
    done = run_command(sys.executable, "-m", "dvc", "repro", "--allow-missing", "--dry")
    assert done.returncode == 0, done.stderr
    assert "Running stage" not in done.stdout + done.stderr, done.stdout
