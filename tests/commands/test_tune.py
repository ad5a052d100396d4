"""A search runs its trials as experiments, resumes after a stop, and ends with the command that repeats the best trial."""

import json
import re
import sys
from pathlib import Path

import optuna
import pytest

from commands.tune import SPACE, drop_stale_metrics, param_flags, read_space, stale_stages, suggest
from stages.shared.errors import StageError
from stages.shared.project import git
from tests.running import ROOT, output_of, read_json, run_command, stages_run

pytestmark = pytest.mark.usefixtures("warm_stages")

TINY = """
metric: validation_accuracy
direction: maximize
params:
  train.learning_rate: {low: 1.0e-3, high: 1.0e-2, log: true}
  train.batch_size: [8, 16]
"""


def test_search_runs_experiments_and_resumes(project: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(TINY, "utf-8")
    command = [sys.executable, "-m", "commands.tune", "--space", space, "--trials"]
    first = run_command(*command, "1", cwd=project)
    assert first.returncode == 0, first.stderr
    assert "trial 1 of 1: validation_accuracy " in first.stderr
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{project / 'optuna.db'}")
    stopped = study.ask()  # a kill leaves such a trial
    values = suggest(stopped, read_space(space))
    second = run_command(*command, "2", cwd=project)
    assert second.returncode == 0, second.stderr
    assert "resuming after 1 trials" in second.stderr
    assert "trial 2 of 2: validation_accuracy " in second.stderr
    assert "trial 1 of" not in second.stderr
    assert f" with {' '.join(param_flags(values))}; " in second.stderr
    tried = re.findall(r"trial \d of \d: validation_accuracy ([\d.]+) .* with (.*);", first.stderr + second.stderr)
    best = max(value for value, _ in tried)
    assert f"Best of 2 trials: validation_accuracy {best}" in second.stdout
    assert any(f"\ndvc exp run {line}\n" in second.stdout for value, line in tried if value == best)
    (best_command,) = re.findall(r"^dvc exp run -S train\.learning_rate=0\.00\d+ -S train\.batch_size=\d+$", second.stdout, re.MULTILINE)
    experiments = run_command(sys.executable, "-m", "dvc", "exp", "list", "--name-only", cwd=project).stdout.split()
    assert sorted(name[-2:] for name in experiments) == ["-0", "-2"]
    assert not run_command("git", "status", "--porcelain", cwd=project).stdout
    repeated = output_of("bash", "-c", f"{best_command} train", cwd=project)
    assert stages_run(repeated) == set(), "the search has trained it"
    assert f"{read_json(project / 'metrics/train.json')['validation_accuracy']:.4f}" == best


def test_experiment_keeps_no_figure_of_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = {"train": {"metrics": [{"train.json": {}}]}, "evaluate": {"metrics": [{"evaluate.json": {}}], "plots": [{"roc.csv": {}}]}}
    trained = {"outs": [{"path": "model", "md5": "2"}]}
    evaluated = {"deps": [{"path": "model", "md5": "1"}], "outs": [{"path": "evaluate.json", "md5": "1"}]}
    for name, content in {
        "dvc.yaml": {"stages": graph},
        "dvc.lock": {"stages": {"train": trained, "evaluate": evaluated}},
        "train.json": {"f1": 0.5},
        "evaluate.json": {"f1": 0.9},
        "roc.csv": {},
    }.items():
        Path(name).write_text(json.dumps(content), "utf-8")
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "trial"], ["update-ref", "refs/exps/trial", "HEAD"]):
        assert run_command("git", *command, cwd=tmp_path).returncode == 0
    drop_stale_metrics("refs/exps/trial")
    kept = {name: git("show", f"refs/exps/trial:{name}") for name in git("ls-tree", "--name-only", "refs/exps/trial").split()}
    assert sorted(kept) == ["dvc.lock", "dvc.yaml", "evaluate.json", "train.json"]
    assert (kept["evaluate.json"], kept["train.json"]) == ("{}", '{"f1": 0.5}')
    assert git("log", "-1", "--format=%an %s", "refs/exps/trial") == "t trial"
    assert git("status", "--porcelain") == ""


def test_stages_after_one_that_ran_alone_are_stale() -> None:
    def stage(outs: dict[str, str], deps: dict[str, str]) -> dict:
        return {kind: [{"path": path, "md5": md5} for path, md5 in paths.items()] for kind, paths in (("outs", outs), ("deps", deps))}

    data, code = stage({"train.csv": "1"}, {}), {"code.py": "1"}
    after = {"export": stage({"bundle": "1"}, {"model": "1", **code}), "evaluate": stage({"predictions": "1"}, {"bundle": "1"})}
    assert stale_stages({"data": data, "train": stage({"model": "1"}, {"train.csv": "1"}), **after}) == []
    assert sorted(stale_stages({"data": data, "train": stage({"model": "2"}, {"train.csv": "1"}), **after})) == ["evaluate", "export"]


def test_unknown_metric_is_refused_before_the_first_trial(project: Path, tmp_path: Path) -> None:
    (project / "metrics").mkdir(exist_ok=True)
    (project / "metrics/train.json").write_text('{"curve": [], "best_epoch": 1}', "utf-8")
    for command in (["add", "-A"], ["commit", "-qm", "metrics"]):
        assert run_command("git", *command, cwd=project).returncode == 0
    space = tmp_path / "space.yaml"
    space.write_text(TINY.replace("validation_accuracy", "curve"), "utf-8")
    done = run_command(sys.executable, "-m", "commands.tune", "--space", space, "--trials", "1", cwd=project)
    assert done.returncode == 1
    assert "metrics/train.json has no metric curve (it has best_epoch)" in done.stderr
    assert not (project / "optuna.db").exists()


def test_failed_trial_and_a_search_without_a_result_are_error_messages(project: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(TINY.replace("[8, 16]", "[-1]"), "utf-8")
    done = run_command(sys.executable, "-m", "commands.tune", "--space", space, "--trials", "1", cwd=project)
    assert done.returncode == 1
    assert "the trial failed" in done.stderr
    assert "no trial succeeded" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("metric: f1\ndirection: up\nparams: {train.epochs: [1]}", "direction"),
        ("metric: f1\ndirection: maximize\nparams: {}", "params"),
        ("metric: f1\ndirection: maximize\nparams: {train.epochs: {low: 1}}", "train.epochs"),
        ("metric: f1\ndirection: maximize\nparams: {train.epochs: {low: .nan, high: 3}}", "set low below high"),
    ],
)
def test_search_space_with_a_problem_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "space.yaml").write_text(text, "utf-8")
    with pytest.raises(StageError, match=problem):
        read_space(tmp_path / "space.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"metric: \xe9")
    for unreadable in ("other.yaml", "latin.yaml", "."):
        with pytest.raises(StageError, match="cannot be read"):
            read_space(tmp_path / unreadable)


def test_default_search_space_has_existing_params_and_an_existing_metric() -> None:
    from stages.train import TrainParams
    from tests.running import read_json

    space = read_space(SPACE)
    assert {name.removeprefix("train.") for name in space.params} <= set(TrainParams.model_fields)
    assert space.metric in read_json(ROOT / "metrics/train.json")


def test_param_flags_are_those_of_dvc() -> None:
    flags = param_flags({"train.learning_rate": 5.3612e-5, "train.epochs": 3})
    assert flags == ["-S", "train.learning_rate=5.36e-05", "-S", "train.epochs=3"]
