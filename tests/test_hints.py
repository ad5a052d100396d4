"""Each command that a message of the graph, of a bundle or of a document names works in the state in which it is read.

A state is a build that was committed, a build beside the lock of another machine, a clone, or an experiment.
"""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.inference.bundle import PORTABLE, read_bundle
from serving.inference.classifier import Classifier
from serving.inference.errors import BundleBroken
from stages.export import load_model
from stages.shared.batches import load_tokenizer
from stages.shared.command import WAY_BACK
from stages.shared.errors import StageError
from stages.shared.mlflow_store import MODEL_NOTE
from stages.shared.splits import read_split
from tests.running import ROOT, dvc, edit, output_of, run_command, stages_run, typed

pytestmark = pytest.mark.usefixtures("warm_stages")

WHOLE = ("data/train.csv", "metrics/preprocess.json", "models/final/model.safetensors", "models/serving/bundle.json", "dvc.lock")


def contents(project: Path) -> dict[str, bytes]:
    """Return the outputs of stages that are there."""
    return {name: (project / name).read_bytes() for name in WHOLE if (project / name).exists()}


def failing(project: Path, *arguments: str) -> str:
    """Run a DVC command in which a stage must fail with a message; return what it printed."""
    done = run_command(sys.executable, "-m", "dvc", *arguments, cwd=project)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("data/raw/reviews.csv", ",negative\n", ",meh\n", "'meh' ("),  # the first stage of the change fails
        ("params.yaml", "warmup_ratio: 0.1 ", "warmup_ratio: 1.5 ", "train.warmup_ratio is 1.5"),  # after preprocess has run anew
    ],
)
def test_way_back_of_a_committed_build(reproduced: Path, file: str, before: str, after: str, said: str) -> None:
    good = contents(reproduced)
    edit(reproduced / "params.yaml", "test_size: 0.1 ", "test_size: 0.2 ")
    edit(reproduced / file, before, after)
    message = failing(reproduced, "repro")
    assert said in message
    assert contents(reproduced) != good
    output_of("git", "restore", "params.yaml", file, cwd=reproduced)
    assert WAY_BACK in message
    assert stages_run(typed(WAY_BACK, reproduced)) == set()
    assert contents(reproduced) == good


def test_way_back_of_an_experiment_leaves_no_model_behind(fresh_build: Path) -> None:
    good, change = contents(fresh_build), ("-S", "preprocess.labels=[bad,good]")
    assert WAY_BACK not in failing(fresh_build, "exp", "run", "--temp", *change)
    assert contents(fresh_build) == good, "a temporary experiment leaves the workspace as it is"
    message = failing(fresh_build, "exp", "run", *change)
    assert WAY_BACK in message
    assert "data/train.csv" not in contents(fresh_build)
    assert output_of("git", "diff", "--name-only", "params.yaml", cwd=fresh_build), "-S changes params.yaml"
    output_of("git", "restore", "params.yaml", cwd=fresh_build)
    assert stages_run(typed(WAY_BACK, fresh_build)) == set()
    assert contents(fresh_build) == good


def test_documents_and_runs_name_the_way_between_experiments(fresh_build: Path) -> None:
    good = contents(fresh_build)
    dvc(fresh_build, "exp", "run", "-S", "evaluate.seed=43")
    other = contents(fresh_build)
    pages = [ROOT / f"docs/tutorials/{name}.md" for name in ("first-model", "your-own-csv")]
    (command,) = {line for page in pages for line in re.findall(r"^git restore .+$", page.read_text("utf-8"), re.MULTILINE)}
    assert stages_run(output_of("bash", "-c", command, cwd=fresh_build)) == set()
    assert contents(fresh_build) == good
    experiment = output_of("git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/*", cwd=fresh_build).split()[0]
    output_of("git", "checkout", "--force", "--quiet", experiment, cwd=fresh_build)
    assert stages_run(typed(MODEL_NOTE, fresh_build)) == set()
    assert contents(fresh_build) == other


def removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def spoiled(file: Path) -> None:
    file.write_text("{", "utf-8")


HINTS: list[tuple[str, Callable[[Path], None], Callable[[Path], object]]] = [  # a file, its fault, and what reads it
    ("data/train.csv", spoiled, read_split),
    ("models/base", removed, lambda folder: load_tokenizer(folder, 32, "train.max_length")),
    ("models/base/config.json", spoiled, lambda file: load_tokenizer(file.parent, 32, "train.max_length")),
    ("models/final", removed, load_model),
    ("models/serving", removed, read_bundle),
    ("models/serving/model.onnx", spoiled, lambda file: read_bundle(file.parent)),
]


def test_remedy_of_a_spoiled_output_mends_it(fresh_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, spoil, read in HINTS:
        spoil(fresh_build / name)
        with pytest.raises((StageError, BundleBroken)) as refused:
            read(fresh_build / name)
        typed(str(refused.value), fresh_build)
        read(fresh_build / name)

    bundle = fresh_build / "models/serving"
    with monkeypatch.context() as other_version:
        other_version.delattr("onnxruntime.InferenceSession")  # it refuses a bundle in which DVC sees no change
        with pytest.raises(BundleBroken) as refused:
            Classifier.load(bundle, PORTABLE)
    assert stages_run(typed(str(refused.value), fresh_build)) == {"export"}
    Classifier.load(bundle, PORTABLE)
    assert output_of("git", "status", "--porcelain", cwd=fresh_build) == " M dvc.lock\n"
