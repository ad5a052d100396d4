"""The pictures: equal data give equal bytes, and no Hangul becomes a box."""

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from stages.shared.report import plots
from stages.shared.report.words import read_words
from tests.running import run_command

CURVE = [
    {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "validation_loss": 0.6 + epoch / 10,
        "validation_calibrated_loss": abs(epoch - 2) / 4 + 0.5,
        "validation_accuracy": 0.8,
        "validation_f1": 0.7,
    }
    for epoch in (1, 2, 3)
]
COUNTS = np.array([[1000, 20], [3, 400]])
KOREAN = ["부정", "긍정"]
WORDS, KOREAN_WORDS = (read_words(language, "pictures") for language in ("en", "ko"))


def roc(names: list[str]) -> dict[str, tuple[list[float], list[float], float]]:
    return {name: ([0.0, 0.2, 1.0], [0.0, 0.9, 1.0], 0.85) for name in names}


PICTURES: dict[str, Callable[[Path], None]] = {
    "learning curve": lambda file: plots.learning_curve(CURVE, 2, file),
    "one epoch": lambda file: plots.learning_curve(CURVE[:1], 1, file),
    "confusion matrix": lambda file: plots.confusion_matrix(COUNTS, KOREAN, WORDS, file),
    "confusion matrix of many classes": lambda file: plots.confusion_matrix(
        np.eye(21, dtype=int), [f"E{n}" for n in range(21)], WORDS, file
    ),
    "ROC": lambda file: plots.roc_curves(roc(KOREAN), KOREAN, WORDS, file),
    "ROC without a curve": lambda file: plots.roc_curves({}, KOREAN, WORDS, file),
    "bars": lambda file: plots.grouped_bars({"분노": {"화남": 3, "짜증": 0}, "기쁨": {"신남": 5}, "슬픔": {"우울": 0}}, "감정", file),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that a test saves."""
    figures: list[Figure] = []
    save = plots._save
    monkeypatch.setattr(plots, "_save", lambda figure, file: (figures.append(figure), save(figure, file)))
    return figures


@pytest.fixture
def no_hangul_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "hangul_font", lambda: None)
    plots.warn_of_missing_font.cache_clear()


def texts(figure: Figure) -> set[str]:
    """Return all labels in a figure."""
    found: set[str] = set()
    for axes in figure.axes:
        labels = [*axes.get_xticklabels(), *axes.get_yticklabels(), *(axes.get_legend().get_texts() if axes.get_legend() else [])]
        found |= {label.get_text() for label in labels}
    return found


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_picture_is_complete_without_warnings_and_the_same_twice(draw: Callable[[Path], None], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(tmp_path / "one.png")
        draw(tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_picture_is_the_same_in_another_process(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tests.stages.shared.report.test_plots import PICTURES; "
    code += "PICTURES['ROC'](Path(sys.argv[1]))"
    done = run_command(sys.executable, "-c", code, tmp_path / "other.png")
    assert done.returncode == 0, done.stderr
    PICTURES["ROC"](tmp_path / "own.png")
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_hangul_names_are_drawn_in_an_installed_font(drawn: list[Figure], caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    assert plots.hangul_font() in plots.HANGUL_FONTS, "apt-get install fonts-nanum"
    plots.confusion_matrix(COUNTS, KOREAN, WORDS, tmp_path / "a.png")
    plots.roc_curves(roc(["긍정"]), ["부정", "긍정"], WORDS, tmp_path / "b.png")
    assert set(KOREAN) <= texts(drawn[0])
    assert "긍정, area 0.850" in texts(drawn[1])
    assert not caplog.records


@pytest.mark.usefixtures("no_hangul_font")
def test_without_a_hangul_font_labels_replace_the_names_and_a_warning_says_what_to_install(
    drawn: list[Figure], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        plots.confusion_matrix(COUNTS, KOREAN, WORDS, tmp_path / "a.png")
        plots.roc_curves(roc(KOREAN), KOREAN, WORDS, tmp_path / "b.png")
    assert {"LABEL_0", "LABEL_1"} <= texts(drawn[0])
    assert {"LABEL_0, area 0.850", "LABEL_1, area 0.850"} <= texts(drawn[1])
    assert not plots.has_hangul([*texts(drawn[0]), *texts(drawn[1])])
    assert caplog.text.count("fonts-nanum") == 1, "one sentence for all pictures"


@pytest.mark.usefixtures("no_hangul_font")
def test_without_a_hangul_font_the_curve_of_two_classes_has_the_label_of_its_class(drawn: list[Figure], tmp_path: Path) -> None:
    plots.roc_curves(roc(["긍정"]), ["부정", "긍정"], WORDS, tmp_path / "roc.png")  # the curve of the positive class, LABEL_1
    assert {text for text in texts(drawn[0]) if text.startswith("LABEL")} == {"LABEL_1, area 0.850"}


@pytest.mark.usefixtures("no_hangul_font")
def test_names_in_other_letters_need_no_hangul_font(drawn: list[Figure], caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    plots.confusion_matrix(COUNTS, ["négatif", "positif"], WORDS, tmp_path / "a.png")
    assert {"négatif", "positif"} <= texts(drawn[0])
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "expected"), [("부정", True), ("ㅋㅋ", True), ("\u1112\u1161", True), ("négatif 😍 漢字", False), ("", False)]
)
def test_hangul_is_recognised_in_all_its_forms(text: str, expected: bool) -> None:
    assert plots.has_hangul([text]) is expected


def test_large_matrix_has_no_numbers_and_small_matrix_has_all(drawn: list[Figure], tmp_path: Path) -> None:
    plots.confusion_matrix(COUNTS, KOREAN, WORDS, tmp_path / "small.png")
    plots.confusion_matrix(np.eye(21, dtype=int), [str(number) for number in range(21)], WORDS, tmp_path / "large.png")
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["1,000", "20", "3", "400"]
    assert not drawn[1].axes[0].texts


def test_kept_epoch_is_marked(drawn: list[Figure], tmp_path: Path) -> None:
    plots.learning_curve(CURVE, 3, tmp_path / "curve.png")
    for axes in drawn[0].axes:
        (marked,) = (line for line in axes.lines if line.get_label() == "kept epoch")
        assert set(marked.get_xdata()) == {3}


def test_words_of_pictures_come_in_the_language(drawn: list[Figure], tmp_path: Path) -> None:
    plots.confusion_matrix(COUNTS, KOREAN, KOREAN_WORDS, tmp_path / "a.png")
    plots.roc_curves(roc(KOREAN), KOREAN, KOREAN_WORDS, tmp_path / "b.png")
    matrix, curves = drawn[0].axes[0], drawn[1].axes[0]
    assert (matrix.get_title("left"), matrix.get_xlabel(), matrix.get_ylabel()) == ("혼동 행렬", "예측", "실제")
    assert drawn[0].axes[1].get_ylabel() == "실제 클래스 내 비율"
    assert (curves.get_title("left"), curves.get_xlabel(), curves.get_ylabel()) == ("ROC 곡선", "거짓양성률 (FPR)", "참양성률 (TPR)")
    assert {"부정, AUC 0.850", "긍정, AUC 0.850", "무작위"} <= texts(drawn[1])


@pytest.mark.parametrize("classes", [2, 3])
def test_each_of_several_equal_curves_is_seen(classes: int, tmp_path: Path) -> None:
    names = [str(number) for number in range(classes)]
    plots.roc_curves(roc(names), names, WORDS, tmp_path / "roc.png")
    image = np.asarray(Image.open(tmp_path / "roc.png").convert("RGB")).astype(int)
    above_the_legend = image[: len(image) // 2].reshape(-1, 3)
    for colour in plots.COLOURS[:classes]:
        exact = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        assert (abs(above_the_legend - exact).max(axis=1) < 30).sum() > 100, colour
