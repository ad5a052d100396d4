"""That the figures are right, agree with each other in every file, and are reported as asked."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score, roc_auc_score

from serving.inference.classifier import Classifier, Predictions
from stages import evaluate
from stages.shared import splits
from tests.conftest import read_json, run_command, write_params

NAMES = ("bad", "fine", "good")
FILES = {
    "metrics": "evaluate.json", "predictions": "predictions.csv", "report": "evaluation.txt", "confusion": "confusion.csv",
    "roc": "roc.csv", "confusion-picture": "confusion.png", "roc-picture": "roc.png",
}  # fmt: skip


def run_evaluate(tiny_model: Path, folder: Path, language: str, **environment: str) -> str:
    """Evaluate the tiny bundle into `folder`; return what was printed."""
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
    printed = run_evaluate(tiny_model, folder, "ko", PYTHONUTF8="1", REPORT="later")
    (folder / "printed.txt").write_text(printed, "utf-8")
    return folder


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def predictions(probabilities: list[list[float]]) -> Predictions:
    array = np.array(probabilities)
    nowhere = np.zeros(len(array), dtype=bool)
    return Predictions(array.argmax(axis=1), array, nowhere, nowhere, np.ones(len(array), dtype=int))


def test_metrics_have_every_figure_and_intervals_that_hold_it(english: Path) -> None:
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


def test_figures_equal_scikit_learns_on_the_written_predictions(english: Path) -> None:
    metrics, written = read_json(english / "evaluate.json"), rows(english / "predictions.csv")
    truth, predicted = [row["label"] for row in written], [row["prediction"] for row in written]
    assert metrics["accuracy"] == pytest.approx(accuracy_score(truth, predicted), abs=1e-6)
    for name, function in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert metrics[name] == pytest.approx(function(truth, predicted, average="macro", zero_division=0), abs=1e-6)
    positive = [float(row["score"]) if row["prediction"] == "positive" else 1 - float(row["score"]) for row in written]
    assert metrics["roc_auc"] == pytest.approx(roc_auc_score([name == "positive" for name in truth], positive), abs=0.01)
    assert {name: values["texts"] for name, values in metrics["classes"].items()} == {name: truth.count(name) for name in set(truth)}


def test_plot_data_and_report_hold_the_same_confusions(english: Path) -> None:
    written, plotted = rows(english / "predictions.csv"), rows(english / "confusion.csv")
    assert [(row["label"], row["prediction"]) for row in written] == [(row["true"], row["predicted"]) for row in plotted]
    counts = confusion_matrix([row["true"] for row in plotted], [row["predicted"] for row in plotted], labels=["negative", "positive"])
    report = (english / "evaluation.txt").read_text("utf-8")
    for name, row in zip(("negative", "positive"), counts.tolist(), strict=True):
        assert [name, *map(str, row)] in [line.split() for line in report.splitlines()]
    curve = [(float(row["false_positive_rate"]), float(row["true_positive_rate"])) for row in rows(english / "roc.csv")]
    assert curve == sorted(curve)
    assert (curve[0], curve[-1]) == ((0, 0), (1, 1))


def test_report_is_printed_as_it_is_saved(english: Path) -> None:
    report = (english / "evaluation.txt").read_text("utf-8")
    assert (english / "printed.txt").read_text("utf-8") == report
    assert "24 test texts" in report
    assert "the food was good" in report


def test_report_comes_in_korean_with_the_same_figures_and_waits_when_told_to(english: Path, korean: Path) -> None:
    report = (korean / "evaluation.txt").read_text("utf-8")
    assert "서비스 모델 평가: 테스트 문장 24개" in report
    assert "나빠요" in report
    assert (korean / "printed.txt").read_text("utf-8") == ""
    for name in ("evaluate.json", "predictions.csv", "confusion.csv", "roc.csv", "confusion.png", "roc.png"):
        assert (korean / name).read_bytes() == (english / name).read_bytes()


def test_evaluate_needs_no_torch() -> None:
    done = run_command(sys.executable, "-c", "import sys, stages.evaluate; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {name.partition(".")[0] for name in done.stdout.split()} & {"torch", "transformers", "mlflow", "matplotlib", "sklearn"}


def test_scores_of_three_classes() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    answer = predictions([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    scores = evaluate.score(truth, answer, NAMES, seed=1)
    assert scores["accuracy"] == pytest.approx(5 / 6)
    assert scores["recall"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert scores["precision"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert scores["f1"] == pytest.approx((2 / 3 + 0.8 + 1) / 3)
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(truth, answer.probabilities, multi_class="ovr"))
    assert scores["classes"]["fine"] == {"precision": pytest.approx(2 / 3), "recall": 1, "f1": pytest.approx(0.8), "texts": 2}
    assert scores == evaluate.score(truth, answer, NAMES, seed=1)


def test_accuracy_has_wilsons_interval() -> None:
    truth = np.array([0, 1] * 50)
    scores = evaluate.score(truth, predictions([[0.9, 0.1]] * 100), ("negative", "positive"), seed=1)
    assert (scores["accuracy_low"], scores["accuracy_high"]) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))


def test_all_right_leaves_an_interval_below_one_hundred_percent() -> None:
    scores = evaluate.score(np.array([0, 1]), predictions([[0.9, 0.1], [0.1, 0.9]]), ("negative", "positive"), seed=1)
    assert scores["accuracy"] == scores["f1"] == scores["roc_auc"] == scores["accuracy_high"] == 1
    assert scores["accuracy_low"] < 0.5


def test_class_without_test_texts_leaves_no_roc_auc_and_no_curve() -> None:
    truth, answer = np.array([0, 0, 2]), predictions([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    assert evaluate.roc_auc(truth, answer.probabilities) is None
    assert list(evaluate.roc_curves(truth, answer.probabilities, NAMES)) == ["bad", "good"]
    assert evaluate.score(truth, answer, NAMES, seed=1)["classes"]["fine"] == {"precision": 0, "recall": 0, "f1": 0, "texts": 0}
    assert evaluate.roc_auc(np.array([1, 1]), np.array([[0.2, 0.8], [0.3, 0.7]])) is None


def test_curves_are_of_the_positive_class_or_of_each_class_and_stay_small() -> None:
    drawn = np.random.default_rng(1)
    truth, probabilities = drawn.integers(0, 3, 5000), drawn.dirichlet([1, 1, 1], 5000)
    curves = evaluate.roc_curves(truth, probabilities, NAMES)
    assert list(curves) == list(NAMES)
    for fpr, tpr, area in curves.values():
        assert len(fpr) == len(tpr) <= evaluate.ROC_POINTS
        assert area == pytest.approx(0.5, abs=0.05)
    two = evaluate.roc_curves(truth.clip(max=1), probabilities[:, :2], ("negative", "positive"))
    assert list(two) == ["positive"]
    assert two["positive"][2] == pytest.approx(roc_auc_score(truth.clip(max=1), probabilities[:, 1]))


@pytest.mark.parametrize(
    ("predicted", "baseline", "gain", "earns"),
    [([0, 1] * 50, [0, 1] * 50, 0, False), ([0, 1] * 50, [0, 0] * 50, 0.5, True), ([0, 0] * 50, [0, 1] * 50, -0.5, False),
     ([0, 1] * 50, [0, 1] * 49 + [0, 0], 0.01, False)],
    ids=["equal", "better", "worse", "better by one text"],
)  # fmt: skip
def test_model_earns_its_cost_only_when_the_gain_is_beyond_chance(predicted: list, baseline: list, gain: float, earns: bool) -> None:
    compared = evaluate.compare(np.array([0, 1] * 50), np.array(predicted), np.array(baseline), classes=2, seed=1)
    assert compared["gain"] == pytest.approx(gain)
    assert compared["earns_its_cost"] is earns
    assert compared["gain_low"] <= compared["gain"] <= compared["gain_high"]


def test_model_and_baseline_have_the_same_macro_f1_where_a_class_has_no_test_text() -> None:
    truth = np.zeros(10, dtype=int)
    probabilities = np.array([[0.9, 0.1]] * 10)
    scores = evaluate.score(truth, predictions(probabilities), ("negative", "positive"), seed=1)
    assert evaluate.compare(truth, truth, truth, classes=2, seed=1)["f1"] == scores["f1"] == 0.5


def test_curve_for_a_line_plot_is_the_one_curve_or_the_mean_of_the_classes() -> None:
    one = {"positive": ([0.0, 0.5, 1.0], [0.0, 0.8, 1.0], 0.65)}
    assert evaluate.average_curve(one) == [(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)]
    perfect, chance = ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0], 1.0), ([0.0, 1.0], [0.0, 1.0], 0.5)
    points = evaluate.average_curve({"bad": perfect, "ok": chance})
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (1.0, 1.0)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert np.trapezoid([y for _, y in points], [x for x, _ in points]) == pytest.approx(0.75, abs=0.01)
