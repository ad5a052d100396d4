"""What must agree does: files, graph, imports, params."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from stages.shared.training.lineage import own_imports
from tests.running import ROOT, run_command

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
STAGES = sorted(GRAPH)
# They print, name, mirror, and read variables that say when and where. tests/test_pipeline.py shows that the outputs stay the same.
CANNOT_CHANGE_A_RESULT = ("command.py", "environment.py", "errors.py", "mlflow_store.py", "project.py", "tracking.py")
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


def test_packages_that_are_deps_leave_their_errors_out() -> None:
    from dvc.repo import Repo

    ignored = Repo(str(ROOT)).dvcignore
    packages = {ROOT / dep for stage in GRAPH.values() for dep in stage["deps"] if (ROOT / dep).is_dir() and dep.startswith("stages/")}
    errors = [file for package in packages for file in package.rglob("errors.py")]
    assert errors
    assert all(ignored.is_ignored_file(str(file)) for file in errors)
    assert not any(ignored.is_ignored_file(str(file)) for package in packages for file in package.rglob("*.py") if file.name != "errors.py")


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
    mirrored_only = {"data/report.json"} if stage == "train" else set()
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


def test_default_labels_are_those_that_stand_for_no_choice() -> None:
    from stages.shared.classes import BINARY

    assert tuple(PARAMS["preprocess"]["labels"]) == BINARY


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


def test_params_stand_in_the_form_that_dvc_writes(tmp_path: Path) -> None:
    from dvc.utils.hydra import apply_overrides

    file = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    apply_overrides(file, ["train.epochs=5"])
    before, after = ((folder / "params.yaml").read_text("utf-8").splitlines() for folder in (ROOT, tmp_path))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new.split("#")[0].strip() for _, new in changed] == ["epochs: 5"]
