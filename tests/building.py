"""The models, bundles and projects that tests build once: a one-layer model that trains in a second, and a project on it."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from tests.running import NONE, ROOT, run_command, write_params
from tests.watching import watched

VOCABULARY = "the a it was is not very good great fine lovely bad awful poor broken film food phone staff and but i we love hate works"
TINY_PREPROCESS: dict[str, object] = {"validation_size": 0.1, "test_size": 0.2, "near_duplicates": 0}  # texts of the tiny table are alike


def build_tiny_base(folder: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel, DistilBertTokenizer, set_seed

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'"
    words = dict.fromkeys([*VOCABULARY.split(), *letters])
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    tokenizer = DistilBertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=64)
    set_seed(0)
    config = DistilBertConfig(
        dim=16, hidden_dim=32, n_layers=1, n_heads=2, max_position_embeddings=64, vocab_size=len(tokens), initializer_range=0.3
    )
    DistilBertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").unlink()


def build_tiny_table(folder: Path) -> None:
    lines = ["text,label"]
    for number in range(60):
        thing, good, bad = (
            ("film", "food", "phone", "staff")[number % 4],
            ("good", "great", "lovely")[number % 3],
            ("bad", "awful", "poor")[number % 3],
        )
        lines += [f"the {thing} was very {good} {number},positive", f"the {thing} was {bad} {number},negative"]
    (folder / "reviews.csv").write_text("\n".join(lines) + "\n", "utf-8")


def build_tiny_model(base: Path, table: Path, mlflow_store: str, folder: Path) -> None:
    train = {"max_length": 32, "learning_rate": 0.005, "batch_size": 8, "epochs": 3, "threads": 1, "token_dropout": 0.0}
    params = write_params(folder / "params.yaml", {"preprocess": TINY_PREPROCESS, "train": train})
    splits = {name: folder / f"{name}.csv" for name in ("train", "validation")}
    stages: dict[str, dict[str, Path]] = {
        "preprocess": {
            "source": table, "labels-source": NONE, "validation-source": NONE, "test-source": NONE, "corrections": NONE,
            "tokenizer": base / "tokenizer.json",
            **splits, "test": folder / "test.csv", "classes": folder / "classes.json",
            "dropped": folder / "dropped.csv", "report": folder / "report.html",
        },
        "train": {
            **splits, "classes": folder / "classes.json", "base": base,
            "teacher": NONE, "model": folder / "final", "picture": folder / "curve.png",
            "preprocess-metrics": folder / "preprocess.json",
        },
        "export": {**splits, "model": folder / "final", "bundle": folder / "serving"},
    }  # fmt: skip
    for stage, paths in stages.items():
        paths |= {"params": params, "metrics": folder / f"{stage}.json"}
        flags = [part for flag, path in paths.items() for part in (f"--{flag}", path)]
        environment = {"MLFLOW_TRACKING_URI": mlflow_store, "DVC_ROOT": str(folder)}
        done = run_command(sys.executable, "-m", f"stages.{stage}", *flags, **environment)
        assert done.returncode == 0, done.stderr


def build_large_model(tiny_model: Path, tiny_base: Path, folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DistilBertConfig, DistilBertModel, set_seed

    for name in ("train.csv", "validation.csv", "classes.json", "preprocess.json", "params.yaml"):
        shutil.copy(tiny_model / name, folder / name)
    set_seed(0)
    config = DistilBertConfig(dim=64, hidden_dim=64, n_layers=1, n_heads=2, max_position_embeddings=64, vocab_size=24_000)
    DistilBertModel(config).save_pretrained(folder / "base")
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(folder / "base")
    AutoModelForSequenceClassification.from_pretrained(folder / "base", num_labels=2).save_pretrained(folder / "final")
    for name in ("lineage.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model / "final" / name, folder / "final" / name)


def build_other_bundle(tiny_bundle: Path, folder: Path) -> None:
    import numpy as np

    from serving.inference.bundle import read_bundle, write_manifest

    bundle = read_bundle(Path(shutil.copytree(tiny_bundle, folder / "serving")))
    roots = {name: np.sqrt(answers) for name, answers in bundle.reference_probabilities.items()}
    changed = replace(
        bundle,
        class_names=("no", "yes"),
        engines=tuple(replace(engine, temperature=2 * engine.temperature) for engine in bundle.engines),
        reference_probabilities={name: (root / root.sum(axis=1, keepdims=True)).tolist() for name, root in roots.items()},
    )
    write_manifest(changed)


def build_committed_project(tiny_base: Path, tiny_table: Path, folder: Path) -> None:
    project = folder / "project"
    listed = run_command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "metrics/")) and name != "dvc.lock":
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name)
    shutil.copy(tiny_table, project / "data/raw/reviews.csv")
    train = {"max_length": 32, "learning_rate": 0.01, "batch_size": 8, "epochs": 2, "threads": 1}
    base = {"source": f"path:{tiny_base}"}
    write_params(project / "params.yaml", {"base_model": base, "preprocess": {"near_duplicates": 0}, "train": train})
    for command in (
        ["init", "-q"],
        ["config", "user.name", "t"],
        ["config", "user.email", "t@t"],
        ["add", "-A"],
        ["commit", "-qm", "start"],
    ):
        done = run_command("git", *command, cwd=project)
        assert done.returncode == 0, done.stderr


def build_reproduced_project(committed_project: Path, folder: Path) -> None:
    """Run the graph with new interpreters, as users do, under watch; commit what it gives."""
    project = Path(shutil.copytree(committed_project, folder / "project", symlinks=True))
    with watched(folder / "watch") as watch:
        assert watch.run(sys.executable, "-m", "dvc", "repro", cwd=project).count("Running stage") == 7
    commit(project)
    shutil.rmtree(project / "mlartifacts")
    (project / "mlflow.db").unlink()


def commit(project: Path) -> None:
    for command in (["add", "-A"], ["commit", "-qm", "state"]):
        done = run_command("git", *command, cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
