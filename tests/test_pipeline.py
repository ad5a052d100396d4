"""The whole graph through DVC, on a copy of the project with a one-layer model: what re-runs, what is tracked, what comes back."""

import hashlib
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from commands.pictures import browser as chromium
from commands.reference import flag_of, is_among, meanings_of_metrics
from stages.shared.command import WAY_BACK
from stages.shared.mlflow_store import flatten
from tests.running import ROOT, dvc, edit, output_of, read_json, run_command, stages_run, typed

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]

pytestmark = pytest.mark.usefixtures("warm_stages")

EXEMPT = (  # from the deps of dvc.yaml
    "stages/shared/command.py",
    "stages/shared/environment.py",
    "stages/shared/project.py",
    "stages/shared/mlflow_store.py",
    "stages/shared/tracking.py",
    "stages/shared/errors.py",
    "stages/shared/dataset/errors.py",
    "stages/shared/sources/errors.py",
    "serving/inference/errors.py",
    "serving/tables/errors.py",
)


def lock(project: Path) -> dict:
    return yaml.safe_load((project / "dvc.lock").read_text("utf-8"))["stages"]


def reword(file: Path) -> None:
    """Change the first docstring of a module."""
    file.write_text(file.read_text("utf-8").replace('"""', '"""In other words. ', 1), "utf-8")


def test_repro_runs_only_what_changed(reproduced: Path) -> None:
    (reproduced / "data/evaluation.txt").unlink()
    no_report = run_command(sys.executable, "-m", "commands.report", cwd=reproduced)
    assert "restored from the cache" in typed(no_report.stderr, reproduced)
    assert make_run(reproduced) == {"unchanged": "7 stages"}
    edit(reproduced / "params.yaml", "I expected more for the price.", "A new probe text.")
    assert make_run(reproduced).keys() == {"evaluate", "unchanged"}
    assert "A new probe text." in (reproduced / "data/evaluation.txt").read_text("utf-8")


def make_run(project: Path) -> dict[str, str]:
    """Run the graph as `make run` does; return the words after each stage."""
    done = run_command(sys.executable, "-m", "commands.run", cwd=project, NO_COLOR="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    lines = done.stdout.partition("\n\n")[0].splitlines()
    return dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines if not line.startswith("WARNING"))


def test_only_code_that_can_change_a_result_re_runs_a_stage(reproduced: Path) -> None:
    for file in EXEMPT:
        reword(reproduced / file)
    assert stages_run(dvc(reproduced, "repro", "--dry", COLUMNS="40")) == set()
    edit(reproduced / "stages/shared/training/loss.py", "return (self.weights", "return 2 * (self.weights")
    assert stages_run(dvc(reproduced, "repro", "--dry")) >= {"train"}


def test_clone_with_exempt_code_in_other_words_gives_the_committed_outputs(reproduced: Path, tmp_path: Path) -> None:
    """A clone has neither outputs nor a cache. Its first run fails, and the way back leads to a whole one."""
    clone = tmp_path / "clone"
    output_of("git", "clone", "--quiet", str(reproduced), str(clone), cwd=tmp_path)
    before = {name: stage["outs"] for name, stage in lock(clone).items()}
    for file in EXEMPT:
        reword(clone / file)
    reword(clone / "stages/shared/training/loss.py")  # by which train gets another key for its checkpoints
    edit(clone / "params.yaml", "escapes:", "escape:")
    failed = run_command(sys.executable, "-m", "dvc", "repro", cwd=clone)
    assert "preprocess.escapes is missing: restore it from git" in failed.stderr
    assert WAY_BACK in failed.stderr
    output_of("git", "restore", "params.yaml", cwd=clone)
    assert len(stages_run(failed.stdout) - {"preprocess"} | stages_run(typed(WAY_BACK, clone))) == 7
    assert {name: stage["outs"] for name, stage in lock(clone).items()} == before


def test_repro_leaves_git_clean_but_for_lock_and_metrics(reproduced: Path) -> None:
    assert run_command("git", "status", "--porcelain", cwd=reproduced).stdout == ""
    assert stages_run(dvc(reproduced, "repro", "--allow-missing", "--dry")) == set()
    tracked = run_command("git", "ls-files", cwd=reproduced).stdout.split()
    assert not [name for name in tracked if name.startswith("models/") or name.endswith((".db", ".onnx", ".safetensors"))]


def test_experiment_runs_what_its_params_change_and_differs_there(reproduced: Path) -> None:
    output = dvc(reproduced, "exp", "run", "-S", "train.epochs=1", "-S", "train.learning_rate=3e-5")
    assert stages_run(output) == {"train", "export", "evaluate"}
    assert read_json(reproduced / "data/training.json")["epochs_run"] == 1
    assert "train.epochs" in dvc(reproduced, "params", "diff")
    assert "validation_calibrated_loss" in dvc(reproduced, "metrics", "diff")
    assert "evaluate.json" in dvc(reproduced, "metrics", "show")
    assert "train.epochs" in dvc(reproduced, "exp", "show", "--csv")


def test_temporary_and_queued_experiments_make_the_same_model_and_land_in_the_main_store(reproduced: Path) -> None:
    again = ("--force", "--single-item", "train")
    dvc(reproduced, "exp", "run", "--temp", *again)
    dvc(reproduced, "exp", "run", "--queue", "-S", "train.learning_rate=3e-5")
    dvc(reproduced, "exp", "run", "--queue", "--name", "queued", *again)
    dvc(reproduced, "exp", "run", "--queue", "--name", "failing", "-S", "train.warmup_ratio=1.5")
    start = [sys.executable, "-m", "dvc", "queue", "start", "-j", "2"]
    # Workers keep the command's pipes for as long as they live, which is for good where one of them hangs at its end.
    subprocess.run(start, cwd=reproduced, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_queue(reproduced, succeeding=2, failing=1)
    said = dvc(reproduced, "queue", "logs", "failing")
    assert "train.warmup_ratio is 1.5" in said
    assert WAY_BACK not in said, "nothing of the workspace is gone"
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{reproduced / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sentiment-ops")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    committed = hashlib.sha256((reproduced / "models/final/model.safetensors").read_bytes()).hexdigest()
    alike = [name for name, run in runs.items() if run.data.tags["model_sha256"] == committed]
    assert len(alike) == 2
    assert "queued" in alike
    (run,) = [run for name, run in runs.items() if name not in alike]
    assert run.data.params["train.learning_rate"] == "3e-05"
    metrics = {"validation_loss", "train_loss", "train.validation_f1", "evaluate.accuracy", "preprocess.rows.train"}
    assert run.data.metrics.keys() >= metrics
    assert run.data.tags.keys() >= {"model_sha256", "sha256.train", "sha256.base", "sha256.code", "parent_commit"}
    assert len(client.get_metric_history(run.info.run_id, "validation_loss")) == 2
    pictures = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert pictures == {"learning_curve.png", "confusion.png", "roc.png"}
    assert run.info.artifact_uri.startswith((reproduced / "mlartifacts").as_uri())
    assert run.info.run_name in {line.split(",")[0] for line in dvc(reproduced, "exp", "list", "--name-only").splitlines()}


def test_every_figure_has_one_meaning_and_the_metrics_are_those_that_one_compares(reproduced: Path) -> None:
    meanings = meanings_of_metrics()
    assert {f"metrics/{stage}.json" for stage in meanings} == {path.relative_to(ROOT).as_posix() for path in ROOT.glob("metrics/*.json")}
    for stage, keys in meanings.items():
        figures = flatten(read_json(reproduced / flag_of(GRAPH[stage]["cmd"], "details")))
        patterns = {key: re.compile(re.sub(r"<\w+>", "[^.]+", re.escape(key).replace(r"\<", "<").replace(r"\>", ">"))) for key in keys}
        for name in figures:
            exact = [name] if name in keys else [key for key, pattern in patterns.items() if pattern.fullmatch(name)]
            assert len(exact) == 1, (stage, name, exact)
        compared = [name for name in figures if is_among(name, importlib.import_module(f"stages.{stage}").COMPARED)]
        assert sorted(compared) == sorted(flatten(read_json(reproduced / f"metrics/{stage}.json")))
        assert sorted(compared) == sorted(flatten(read_json(ROOT / f"metrics/{stage}.json")))


def test_own_file_of_the_user_stays_out_of_git(reproduced: Path) -> None:
    rows = (reproduced / "data/raw/reviews.csv").read_text("utf-8")
    (reproduced / "data/raw/mine.csv").write_text(f"{rows}my secret words,positive\n", "utf-8")
    output = dvc(reproduced, "exp", "run", "-S", "preprocess.source=data/raw/mine.csv", "preprocess")
    assert stages_run(output) == {"preprocess"}
    assert "my secret words" in "".join((reproduced / f"data/{name}.csv").read_text("utf-8") for name in ("train", "validation", "test"))
    (keep,) = re.findall(r"```bash\n(dvc add .+?)```", (ROOT / "docs/tutorials/your-own-csv.md").read_text("utf-8"), re.DOTALL)
    output_of("bash", "-ec", keep, cwd=reproduced)
    assert not output_of("git", "status", "--porcelain", cwd=reproduced)
    dvc(reproduced, "exp", "run", "--temp", "-S", "preprocess.seed=8", "preprocess")  # has the file from DVC
    commits = run_command("git", "rev-list", "--all", cwd=reproduced).stdout.split()
    assert len(commits) > 4, "the experiments are commits too"
    assert run_command("git", "grep", "my secret words", *commits, cwd=reproduced).stdout == ""
    assert run_command("git", "ls-files", "data/raw/mine.csv", cwd=reproduced).stdout == ""


def wait_for_queue(project: Path, succeeding: int, failing: int) -> None:
    """Wait until so many queued experiments have ended; the workers end by themselves."""
    import time

    for _ in range(240):
        done = run_command(sys.executable, "-m", "dvc", "queue", "status", cwd=project)
        status = done.stdout  # DVC fails where it reads a file that a worker is writing
        if done.returncode == 0 and not re.search(r"\b(Queued|Running)\b", status):
            found = status.count("Success"), status.count("Failed")
            assert found == (succeeding, failing), status
            return
        time.sleep(1)
    raise AssertionError(status)


def test_plots_page_needs_no_network(reproduced: Path) -> None:
    done = run_command(sys.executable, "-m", "commands.offline_plots", cwd=reproduced)
    assert done.returncode == 0, done.stderr
    dvc(reproduced, "plots", "show")
    page = (reproduced / "dvc_plots/index.html").read_text("utf-8")
    assert "cdn." not in re.sub(r"<script>\(\(\) =>.*?</script>", "", page, flags=re.DOTALL)
    assert "<script src=" not in page
    shot = draw_in_chromium(reproduced / "dvc_plots/index.html")
    assert shot["requests"] == []
    assert shot["drawn"] == 3
    assert shot["errors"] == []


def draw_in_chromium(page_file: Path) -> dict[str, object]:
    """Open a page without network; return network requests, number of drawn plots, errors."""
    from playwright.sync_api import sync_playwright

    requests: list[str] = []
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 1600})
        page.on("request", lambda request: requests.append(request.url) if request.url.startswith("http") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_file.as_uri())
        page.wait_for_selector("canvas, svg.marks", timeout=30_000)
        drawn = page.locator("canvas, svg.marks").count()
        page.screenshot(path=str(page_file.with_suffix(".png")), full_page=True)
        browser.close()
    return {"requests": requests, "drawn": drawn, "errors": errors}


def test_korean_corpus_with_brackets_in_its_name_is_a_source_and_can_be_imported(reproduced: Path) -> None:
    name = "data/raw/감성대화(최종)_sample.json"
    dialogues = json.loads((reproduced / "data/raw/emotion_dialogues_sample.json").read_text("utf-8"))
    (reproduced / name).write_text(json.dumps(dialogues[:200]), "utf-8")
    params = [part for param in ("preprocess.source", "emotion_distribution.corpus") for part in ("-S", f'{param}="{name}"')]
    output = dvc(reproduced, "exp", "run", *params, "preprocess", "emotion_distribution")
    assert stages_run(output) == {"preprocess", "emotion_distribution"}
    output = output_of(sys.executable, "-m", "commands.import_aihub", name, cwd=reproduced)
    (command,) = re.findall(r"^ +(dvc exp run .+ -S preprocess\.aihub_target=emotion) ", output, re.MULTILINE)
    output_of("bash", "-c", command, cwd=reproduced)
    config = read_json(reproduced / "models/final/config.json")
    assert set(config["id2label"].values()) == {"분노", "슬픔", "불안", "상처", "당황", "기쁨"}
    assert set(read_json(reproduced / "data/evaluation.json")["classes"]) == set(config["id2label"].values())
