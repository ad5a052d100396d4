"""The stage evaluate: its figures are right, agree in every file, and are in the report."""

import csv
import sys
from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score, roc_auc_score

from serving.inference.classifier import Classifier
from stages import evaluate
from stages.shared import splits
from stages.shared.report import plots
from tests.running import read_json, run_command, write_params

FILES = {
    "metrics": "compared.json", "details": "evaluate.json",
    "predictions": "predictions.csv", "report": "evaluation.txt", "confusion": "confusion.csv",
    "roc": "roc.csv", "confusion-picture": "confusion.png", "roc-picture": "roc.png",
}  # fmt: skip


def run_evaluate(tiny_model: Path, folder: Path, language: str, **environment: str) -> str:
    """Evaluate the tiny bundle into `folder`, and return what the stage printed."""
    params_file = write_params(
        folder / "params.yaml", {"evaluate": {"report_language": language, "probe_texts": ["the food was good", "나빠요"]}}
    )
    files = {"bundle": tiny_model / "serving", "train": tiny_model / "train.csv", "test": tiny_model / "test.csv", "params": params_file}
    flags = [
        part for flag, file in {**files, **{flag: folder / name for flag, name in FILES.items()}}.items() for part in (f"--{flag}", file)
    ]
    store = {"DVC_ROOT": str(folder), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    done = run_command(sys.executable, "-m", "stages.evaluate", *flags, **store, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def english(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("english")
    printed = run_evaluate(tiny_model, folder, "en", PYTHONUTF8="1")
    (folder / "printed.txt").write_text(printed, "utf-8")
    return folder


@pytest.fixture(scope="module")
def korean(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("korean")
    printed = run_evaluate(tiny_model, folder, "ko", PYTHONUTF8="1", SENTIMENT_REPORT="later")
    (folder / "printed.txt").write_text(printed, "utf-8")
    return folder


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_metrics_have_every_figure_and_each_interval_contains_its_score(english: Path) -> None:
    metrics = read_json(english / "evaluate.json")
    scores = {"accuracy", "accuracy_low", "accuracy_high", "f1", "f1_low", "f1_high", "precision", "recall", "roc_auc"}
    assert set(metrics) == scores | {
        "classes",
        "engine",
        "fp32_accuracy",
        "truncated_share",
        "changed_by_compression",
        "calibration_error",
        "uncertain_share",
        "baseline",
        "texts",
        "intervals",
    }
    assert set(metrics["baseline"]) == {"accuracy", "f1", "gain", "gain_low", "gain_high", "earns_its_cost"}
    for values, name in ((metrics, "accuracy"), (metrics, "f1"), (metrics["baseline"], "gain")):
        assert values[f"{name}_low"] <= values[name] <= values[f"{name}_high"]
    assert metrics["baseline"]["gain"] == pytest.approx(metrics["accuracy"] - metrics["baseline"]["accuracy"], abs=1e-6)
    assert metrics["texts"] == 24


def test_predictions_are_those_of_the_served_classifier_in_the_order_of_the_split(english: Path, tiny_model: Path) -> None:
    test = splits.read_split(tiny_model / "test.csv")
    served = Classifier.load(tiny_model / "serving")
    answer = served.predict(test["text"].tolist())
    names = served.bundle.class_names
    written = rows(english / "predictions.csv")
    assert [row["text"] for row in written] == test["text"].tolist()
    assert [row["label"] for row in written] == [names[number] for number in test["label"]]
    assert [row["prediction"] for row in written] == [names[number] for number in answer.label_ids]
    assert [float(row["score"]) for row in written] == pytest.approx(answer.scores.tolist(), abs=1e-5)
    assert read_json(english / "evaluate.json")["engine"] == served.spec.name


def test_scores_equal_those_of_scikit_learn_on_the_written_predictions(english: Path) -> None:
    metrics, written = read_json(english / "evaluate.json"), rows(english / "predictions.csv")
    truth, predicted = [row["label"] for row in written], [row["prediction"] for row in written]
    assert metrics["accuracy"] == pytest.approx(accuracy_score(truth, predicted), abs=1e-6)
    for name, function in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert metrics[name] == pytest.approx(function(truth, predicted, average="macro", zero_division=0), abs=1e-6)
    positive = [float(row["score"]) if row["prediction"] == "positive" else 1 - float(row["score"]) for row in written]
    assert metrics["roc_auc"] == pytest.approx(roc_auc_score([name == "positive" for name in truth], positive), abs=0.01)
    assert {name: values["texts"] for name, values in metrics["classes"].items()} == {name: truth.count(name) for name in set(truth)}


def test_plot_data_and_report_have_the_same_confusions(english: Path) -> None:
    written, plotted = rows(english / "predictions.csv"), rows(english / "confusion.csv")
    assert [(row["label"], row["prediction"]) for row in written] == [(row["true"], row["predicted"]) for row in plotted]
    counts = confusion_matrix([row["true"] for row in plotted], [row["predicted"] for row in plotted], labels=["negative", "positive"])
    report = (english / "evaluation.txt").read_text("utf-8")
    for name, row in zip(("negative", "positive"), counts.tolist(), strict=True):
        assert [name, *map(str, row)] in [line.split() for line in report.splitlines()]
    curve = [(float(row["false_positive_rate"]), float(row["true_positive_rate"])) for row in rows(english / "roc.csv")]
    assert curve == sorted(curve)
    assert (curve[0], curve[-1]) == ((0, 0), (1, 1))


def test_printed_report_is_the_saved_report(english: Path) -> None:
    report = (english / "evaluation.txt").read_text("utf-8")
    assert (english / "printed.txt").read_text("utf-8") == report
    assert "24 test texts" in report
    assert "the food was good" in report


def test_korean_report_has_the_same_figures_and_is_not_printed_if_the_caller_prints_it_later(english: Path, korean: Path) -> None:
    report = (korean / "evaluation.txt").read_text("utf-8")
    assert "서비스 모델 평가: 테스트 텍스트 24개" in report
    assert "나빠요" in report
    assert (korean / "printed.txt").read_text("utf-8") == ""
    for name in ("evaluate.json", "predictions.csv", "confusion.csv", "roc.csv"):
        assert (korean / name).read_bytes() == (english / name).read_bytes()


def test_evaluate_needs_no_torch() -> None:
    done = run_command(sys.executable, "-c", "import sys, stages.evaluate; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {name.partition(".")[0] for name in done.stdout.split()} & {"torch", "transformers", "mlflow", "matplotlib", "sklearn"}


def test_pictures_are_in_the_language_of_the_report(english: Path, korean: Path) -> None:
    for name in ("confusion.png", "roc.png"):
        assert (english / name).read_bytes() != (korean / name).read_bytes()


@pytest.mark.parametrize(("font", "title"), [("NanumGothic", "혼동 행렬"), (None, "Confusion matrix")])
def test_pictures_of_a_korean_report_are_in_english_without_a_font_for_hangul(
    font: str | None, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "hangul_font", lambda: font)
    assert evaluate.picture_words("ko")["confusion"] == title
