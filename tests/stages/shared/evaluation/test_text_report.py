"""The evaluation report: a verdict in words and figures in columns, in English and Korean."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest

from stages.shared.evaluation import text_report as report
from stages.shared.report.console import WIDTH, render
from stages.shared.report.words import Language, read_words

NAMES = {"en": ("negative", "positive"), "ko": ("부정", "긍정")}
BASELINES = {
    "earns": {"gain": 0.08, "gain_low": 0.03, "gain_high": 0.13},
    "unclear": {"gain": 0.02, "gain_low": -0.01, "gain_high": 0.05},
    "loses": {"gain": -0.08, "gain_low": -0.13, "gain_high": -0.03},
}
SENTENCES = {
    ("en", "earns"): "The transformer is worth its cost: it is 8.0 points more accurate than the linear baseline (interval +3.0 to +13.0).",
    ("en", "unclear"): "It is not shown that the transformer is worth its cost: the gain over the linear baseline is +2.0 points, and "
    "the interval -1.0 to +5.0 contains 0. More test texts make the interval narrower.",
    ("en", "loses"): "The transformer is not worth its cost: it is 8.0 points less accurate than the linear baseline (interval of the "
    "difference -13.0 to -3.0). Check that the base model knows the language of the texts.",
    ("ko", "earns"): "트랜스포머가 제값을 합니다. 선형 기준 모델보다 정확도가 8.0%p 높습니다 (신뢰구간 +3.0~+13.0).",
    ("ko", "unclear"): "트랜스포머가 제값을 하는지 아직 알 수 없습니다. 선형 기준 모델과의 차이는 +2.0%p이고, 신뢰구간 -1.0~+5.0에 0이 "
    "포함됩니다. 테스트 텍스트가 많을수록 신뢰구간이 좁아집니다.",
    ("ko", "loses"): "트랜스포머가 제값을 못합니다. 선형 기준 모델보다 정확도가 8.0%p 낮습니다 (차이의 신뢰구간 -13.0~-3.0). "
    "사전 학습 모델이 이 언어를 지원하는지 확인하세요.",
}


def columns(text: str) -> int:
    """Return the columns of a text on a console: two for a wide sign, none for a mark on the sign before it."""
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def evaluated(language: Language, names: Sequence[str] = (), **changes: Any) -> str:
    """Return the report of two classes, with other metrics if given."""
    names = names or NAMES[language]
    classes = {name: {"precision": 0.9, "recall": 0.8, "f1": 0.85, "texts": 1250} for name in names}
    metrics = {
        "texts": 2500,
        "engine": "openvino-fp32",
        "classes": classes,
        "fp32_accuracy": 0.9,
        "calibration_error": 0.05,
        "uncertain_share": 0.1,
        "roc_auc": 0.95,
        "precision": 0.9,
    }
    metrics |= {"accuracy": 0.9, "accuracy_low": 0.88, "accuracy_high": 0.92, "f1": 0.89, "f1_low": 0.87, "f1_high": 0.91, "recall": 0.8}
    metrics |= {"baseline": {"accuracy": 0.82, **BASELINES["earns"]}} | changes
    samples = [(f"텍스트 number {number} " * 20, number % 2, number % 3 % 2, 0.5 + number / 100) for number in range(20)]
    return report.evaluation(
        language, metrics, [[1000, 250], [50, 1200]], names, samples, [("정말 좋아요", 1, 0.99), ("bad", 0, 1.0)], is_foreign=False
    )


@pytest.mark.parametrize(("language", "kind"), SENTENCES)
def test_verdict_says_whether_the_model_earns_its_cost(language: Language, kind: str) -> None:
    assert report.verdict(language, BASELINES[kind]) == SENTENCES[language, kind]
    assert SENTENCES[language, kind] in " ".join(evaluated(language, baseline={"accuracy": 0.82, **BASELINES[kind]}).split())


@pytest.mark.parametrize(
    ("language", "foreign", "one_class"),
    [
        (
            "en",
            "The base model does not know the language of these texts",
            "The model answers 'negative' for 98 % of the texts, but only 80 %",
        ),
        (
            "ko",
            "사전 학습 모델이 이 텍스트의 언어를 모르기 때문에",
            "모델이 텍스트의 98%에 '부정' 라벨을 붙였지만, 실제로 이 라벨인 텍스트는 80%뿐",
        ),
    ],
)
def test_report_begins_with_what_makes_its_scores_poor(language: Language, foreign: str, one_class: str) -> None:
    metrics = dict.fromkeys(("accuracy", "f1", "precision", "recall", "roc_auc", "calibration_error"), 0.8)
    metrics |= {"uncertain_share": 0.1, "fp32_accuracy": 0.8, "texts": 100, "engine": "x", "classes": {}}
    metrics |= {"baseline": {"accuracy": 0.82, **BASELINES["loses"]}}
    names = {"en": ["negative", "positive"], "ko": ["부정", "긍정"]}[language]

    def first_words(counts: list[list[int]], is_foreign: bool) -> str:
        return " ".join(report.evaluation(language, metrics, counts, names, [], [], is_foreign=is_foreign).split())

    assert first_words([[78, 2], [20, 0]], True).startswith(foreign)
    assert one_class in first_words([[79, 1], [19, 1]], True)
    assert first_words([[79, 1], [19, 1]], False).startswith(one_class)
    title = read_words(language, "evaluation")["title"].partition("{")[0].strip()
    assert first_words([[79, 1], [1, 19]], False).startswith(title)
    assert first_words([[95, 0], [3, 2]], False).startswith(title), "nearly all texts are of that class"


def test_gain_that_touches_zero_is_unclear() -> None:
    assert report.verdict("en", {"gain": 0.0, "gain_low": 0.0, "gain_high": 0.0}).startswith("It is not shown")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_report_has_every_part_and_no_line_is_too_wide(language: Language) -> None:
    text = evaluated(language)
    words = read_words(language, "evaluation")
    for key in (
        "accuracy",
        "f1",
        "precision",
        "recall",
        "roc_auc",
        "fp32",
        "baseline",
        "class",
        "confusion",
        "samples",
        "mistakes",
        "probes",
    ):
        assert words[key] in text
    assert words["interval"].format(low=88, high=92) in text
    assert text.endswith("\n")
    assert max(columns(line) for line in text.splitlines()) <= WIDTH


@pytest.mark.parametrize("names", [("a" * 60, "b" * 60), ("긴 이름 " * 12, "다른 이름 " * 12)], ids=["letters", "Hangul"])
def test_long_class_names_are_cut_and_no_figure_is(names: Sequence[str]) -> None:
    text = evaluated("ko", names)
    assert max(columns(line) for line in text.splitlines()) <= WIDTH
    for figure in ("1,250", "1,200", "85.0 %", "99.0 %"):
        assert figure in text


def test_report_shows_markup_and_emoji_codes_as_they_are() -> None:
    text = "[bold]좋아요[/bold] :smile:"
    rendered = render([report._probes(read_words("en", "evaluation"), [(text, 1, 0.9)], NAMES["en"])])
    assert "[bold]좋아요[/bold] :smile:" in rendered


def test_report_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    before = evaluated("ko")
    for name, value in {
        "COLUMNS": "40",
        "LINES": "5",
        "FORCE_COLOR": "1",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PYTHONIOENCODING": "ascii",
    }.items():
        monkeypatch.setenv(name, value)
    assert evaluated("ko") == before


@pytest.mark.parametrize("language", ["en", "ko"])
def test_columns_are_aligned_in_both_scripts(language: Language) -> None:
    lines = evaluated(language).splitlines()
    start = lines.index(read_words(language, "evaluation")["confusion"])
    assert len({columns(line) for line in lines[start + 1 : start + 4]}) == 1
    (head,) = (number for number, line in enumerate(lines) if line.startswith(read_words(language, "evaluation")["class"] + " "))
    assert len({columns(line) for line in lines[head : head + 3]}) == 1
    start = lines.index(read_words(language, "evaluation")["samples"])
    assert len({columns(line[: line.index(" %")]) for line in lines[start + 2 : start + 2 + report.SAMPLES]}) == 1


def test_line_below_the_title_is_as_wide_as_the_title() -> None:
    for language in ("en", "ko"):
        title, line = evaluated(language).splitlines()[:2]
        assert set(line) == {"="}
        assert columns(title) == len(line)


def test_most_confident_mistakes_come_first() -> None:
    lines = evaluated("en").splitlines()
    start = lines.index(read_words("en", "evaluation")["mistakes"])
    shares = [float(line.split()[3]) for line in lines[start + 2 : start + 2 + report.SAMPLES]]
    assert shares == sorted(shares, reverse=True)
    assert all(line.startswith("✗") for line in lines[start + 2 : start + 2 + report.SAMPLES])


def test_part_without_content_says_so_or_is_absent() -> None:
    baseline = {"accuracy": 1.0, **BASELINES["unclear"]}
    classes = {name: {"precision": 1.0, "recall": 1.0, "f1": 1.0, "texts": 1} for name in NAMES["en"]}
    metrics = {
        "texts": 2,
        "engine": "e",
        "accuracy": 1.0,
        "f1": 1.0,
        "precision": 1.0,
        "recall": 1.0,
        "roc_auc": None,
        "fp32_accuracy": 1.0,
        "calibration_error": 0.0,
        "uncertain_share": 0.0,
    }
    samples = [("good", 1, 1, 1.0), ("bad", 0, 0, 1.0)]
    text = report.evaluation(
        "en", {**metrics, "baseline": baseline, "classes": classes}, [[1, 0], [0, 1]], NAMES["en"], samples, [], is_foreign=False
    )
    assert "ROC-AUC" not in text
    assert "Probe texts" not in text
    assert "Most confident mistakes\nnone" in text


def test_report_of_many_classes_lists_their_largest_confusions() -> None:
    names = [f"class {number}" for number in range(report.MATRIX_CLASSES + 1)]
    counts = [[100 if true == predicted else 10 * true + predicted for predicted in range(len(names))] for true in range(len(names))]
    words = read_words("en", "evaluation")
    lines = render([report._confusion(words, counts, names)]).splitlines()
    assert lines[0] == words["confusions"]
    assert [" ".join(line.split()) for line in lines[1:3]] == ["109 class 10 -> class 9", "108 class 10 -> class 8"]
    assert len(lines) == 1 + report.MATRIX_CLASSES
