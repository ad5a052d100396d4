"""Fixtures of all tests: the tiny model, its bundle and project (built once, by tests/building.py), stage runs, a clean environment."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.building import (
    build_committed_project,
    build_large_model,
    build_other_bundle,
    build_reproduced_project,
    build_tiny_base,
    build_tiny_model,
    build_tiny_table,
    commit,
)
from tests.running import ROOT, run_command, write_params
from tests.warm import warm_python

SHARED_DATA = ROOT.parent / "shared" / "data"

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SLOW = (  # modules that `make test-fast` leaves out: they start servers, commands, real trainings or DVC
    "tests/commands/test_data.py",
    "tests/commands/test_import_aihub.py",
    "tests/commands/test_import_hub.py",
    "tests/commands/test_tune.py",
    "tests/commands/test_verify.py",
    "tests/docs/test_examples.py",
    "tests/serving/runtime/test_workers.py",
    "tests/serving/tables/test_output.py",
    "tests/serving/test_main.py",
    "tests/serving/test_reliability.py",
    "tests/serving/test_score.py",
    "tests/serving/test_settings.py",
    "tests/serving/web/routes/test_admin.py",
    "tests/serving/web/routes/test_file.py",
    "tests/stages/shared/dataset/test_near_duplicates.py",
    "tests/stages/shared/dataset/test_row_store.py",
    "tests/stages/shared/engines/test_onnx_file.py",
    "tests/stages/shared/test_mlflow_store.py",
    "tests/stages/shared/test_tracking.py",
    "tests/stages/shared/training/test_checkpoints.py",
    "tests/stages/shared/training/test_launch.py",
    "tests/stages/shared/training/test_loss.py",
    "tests/stages/shared/training/test_memory.py",
    "tests/stages/shared/training/test_micro_batches.py",
    "tests/stages/shared/training/test_mlflow_run.py",
    "tests/stages/shared/training/test_pairs.py",
    "tests/stages/shared/training/test_teacher.py",
    "tests/stages/shared/training/test_trainer.py",
    "tests/stages/shared/training/vocabulary/test_refit.py",
    "tests/stages/test_base_model.py",
    "tests/stages/test_evaluate.py",
    "tests/stages/test_export.py",
    "tests/stages/test_train.py",
    "tests/test_hints.py",
    "tests/test_model.py",
    "tests/test_pipeline.py",
    "tests/test_privacy.py",
)
AFTER_RUN = (  # modules that read what `make run` writes; .ci/run runs them once more after it
    "tests/commands/test_report.py",
    "tests/docs/test_documents.py",
    "tests/test_contract.py",
    "tests/test_model.py",
)


def pytest_configure() -> None:
    """Have the commands that tests start find the tools of this environment first, whether make started pytest or not."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the modules, and run the slow ones first: so no worker begins a long test when the others have none left."""
    items.sort(key=lambda item: item.path.relative_to(ROOT).as_posix() not in SLOW)
    for item in items:
        module = item.path.relative_to(ROOT).as_posix()
        if module in SLOW:
            item.add_marker(pytest.mark.slow)
        if module in AFTER_RUN:
            item.add_marker(pytest.mark.after_run)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what an outer setting would change: of DVC, MLflow, Hugging Face, telemetry or the server."""
    prefixes = ("DVC_", "MLFLOW_", "SENTIMENT_", "HF_", "OTEL_", "PROMETHEUS_", "REPORT", "LOG_LEVEL", "PREPROCESS_MEMORY")
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test data; tests that need it are skipped only where it does not exist."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA} is not here: the test needs its real data")
    return SHARED_DATA


Build = Callable[[Path], None]
BuiltOnce = Callable[[str, Build], Path]


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> BuiltOnce:
    """Return what builds a folder once for all workers of this run: the first one builds, the others wait. Nobody may change it."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def built(name: str, build: Build) -> Path:
        folder, complete = root / name, root / f"{name}.complete"
        with FileLock(root / f"{name}.lock"):
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                build(folder)
                complete.touch()
        return folder

    return built


@pytest.fixture(scope="session")
def tiny_base(built_once: BuiltOnce) -> Path:
    """A one-layer DistilBERT encoder that knows some thirty words and all letters."""
    return built_once("tiny_base", build_tiny_base)


@pytest.fixture(scope="session")
def tiny_table(built_once: BuiltOnce) -> Path:
    """A CSV of 120 different labelled texts that the tiny model can learn."""
    return built_once("tiny_table", build_tiny_table) / "reviews.csv"


@pytest.fixture(scope="session")
def mlflow_store(built_once: BuiltOnce) -> str:
    """The URI of a tracking store that lives as long as the tests."""
    return f"sqlite:///{built_once('mlflow', lambda folder: None) / 'mlflow.db'}"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty project under git and DVC, with this project's ignore rules."""
    folder = tmp_path / "repository"
    (folder / "data/raw").mkdir(parents=True)
    shutil.copy(ROOT / ".gitignore", folder / ".gitignore")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        assert run_command(*command, cwd=folder).returncode == 0
    return folder


@pytest.fixture
def run_stage(mlflow_store: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m stages.<name>` with path flags given as keywords; params: sections to change in a copy of params.yaml."""

    def run(
        name: str, *, params: dict[str, dict[str, object]] | None = None, cwd: Path = ROOT, **paths: Path | str
    ) -> subprocess.CompletedProcess[str]:
        flags = [part for flag, path in paths.items() for part in (f"--{flag.replace('_', '-')}", str(path))]
        params_file = write_params(tmp_path / "params.yaml", params or {})
        return run_command(
            sys.executable, "-m", f"stages.{name}", "--params", params_file, *flags, cwd=cwd, MLFLOW_TRACKING_URI=mlflow_store
        )

    return run


@pytest.fixture(scope="session")
def tiny_model(tiny_base: Path, tiny_table: Path, mlflow_store: str, built_once: BuiltOnce) -> Path:
    """A folder with splits, the trained tiny model and its bundle: train.csv ..., final/, serving/, *.json."""
    return built_once("tiny_model", partial(build_tiny_model, tiny_base, tiny_table, mlflow_store))


@pytest.fixture(scope="session")
def doubtful(tiny_model: Path, built_once: BuiltOnce) -> Path:
    """The splits of the tiny model with every fourth validation label wrong: the more confident a model gets, the higher its loss."""

    def build(folder: Path) -> None:
        for name in ("train.csv", "classes.json", "preprocess.json"):
            shutil.copy(tiny_model / name, folder / name)
        header, *rows = (tiny_model / "validation.csv").read_text("utf-8").splitlines()
        turned = [f"{row[:-1]}{1 - int(row[-1])}" if number % 4 == 0 else row for number, row in enumerate(rows)]
        (folder / "validation.csv").write_text("\n".join([header, *turned]) + "\n", "utf-8")

    return built_once("doubtful", build)


@pytest.fixture(scope="session")
def large_model(tiny_model: Path, tiny_base: Path, built_once: BuiltOnce) -> Path:
    """What the tiny model came from, with a base and a trained model of 6 MB: more than `small_disk` takes."""
    return built_once("large_model", partial(build_large_model, tiny_model, tiny_base))


@pytest.fixture
def small_disk(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that can write no file over 4 MB."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    limit = 4 * 1024 * 1024
    (folder / "sitecustomize.py").write_text(
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))",
        "utf-8",
    )
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model: Path) -> Path:
    """The bundle of the tiny model."""
    return tiny_model / "serving"


@pytest.fixture(scope="session")
def other_bundle(tiny_bundle: Path, built_once: BuiltOnce) -> Path:
    """The tiny bundle with other class names, and lower scores."""
    return built_once("other_bundle", partial(build_other_bundle, tiny_bundle)) / "serving"


@pytest.fixture
def copied_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may break."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "serving"))


@pytest.fixture(scope="session")
def real_bundle() -> Path:
    """The project's own bundle, built by the graph where it is not there yet."""
    bundle = ROOT / "models" / "serving"
    bundle.parent.mkdir(exist_ok=True)
    with FileLock(bundle.with_suffix(".lock")):
        if not (bundle / "bundle.json").exists():
            done = run_command(sys.executable, "-m", "dvc", "repro", "export")
            assert done.returncode == 0, done.stdout + done.stderr
    return bundle


@pytest.fixture(scope="session")
def committed_project(tiny_base: Path, tiny_table: Path, built_once: BuiltOnce) -> Path:
    """A committed copy of the project, on the tiny base and table, in which `dvc` commands take seconds."""
    return built_once("committed_project", partial(build_committed_project, tiny_base, tiny_table)) / "project"


@pytest.fixture(scope="session")
def reproduced_once(committed_project: Path, built_once: BuiltOnce) -> Path:
    """The committed project with its graph run and its lock and metrics committed; its watch lies beside it."""
    return built_once("reproduced", partial(build_reproduced_project, committed_project)) / "project"


@pytest.fixture
def reproduced(reproduced_once: Path, tmp_path: Path) -> Path:
    """A copy of the project with its graph run and its lock and metrics committed."""
    return Path(shutil.copytree(reproduced_once, tmp_path / "project", symlinks=True))


@pytest.fixture
def fresh_build(reproduced: Path) -> Path:
    """A copy of the project as `make run` leaves it: the last commit has the lock of another machine."""
    lock = reproduced / "dvc.lock"
    own = lock.read_text("utf-8")
    lock.write_text(re.sub(r"\b[0-9a-f]{32}\b", "f" * 32, own), "utf-8")
    commit(reproduced)
    lock.write_text(own, "utf-8")
    return reproduced


@pytest.fixture(scope="session")
def warm_path() -> Iterator[str]:
    """A PATH with which DVC forks the stages of any copy of the project from a warm process."""
    with warm_python() as path:
        yield path


@pytest.fixture
def warm_stages(warm_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands of a test run the stages so. `.ci/run` runs the graph with new interpreters, as users do."""
    monkeypatch.setenv("PATH", warm_path)


@pytest.fixture
def project(committed_project: Path, tmp_path: Path) -> Path:
    """A copy of the committed project that a test may change."""
    return Path(shutil.copytree(committed_project, tmp_path / "project", symlinks=True))
