"""What a person reads: verdicts in words, figures in columns, in English and in Korean."""

import unicodedata
from typing import Any

import pytest

from stages.shared.evaluation import text_report as report
from stages.shared.report.console import WIDTH, Language

NAMES = {"en": ("negative", "positive"), "ko": ("부정", "긍정")}
BASELINES = {
    "earns": {"gain": 0.08, "gain_low": 0.03, "gain_high": 0.13},
    "unclear": {"gain": 0.02, "gain_low": -0.01, "gain_high": 0.05},
    "loses": {"gain": -0.08, "gain_low": -0.13, "gain_high": -0.03},
}
SENTENCES = {
    ("en", "earns"): "The transformer earns its cost: it is 8.0 points more accurate than the linear baseline (+3.0 to +13.0).",
    ("en", "unclear"): "It is not shown that the transformer earns its cost: +2.0 points against the linear baseline, and the interval "
    "-1.0 to +5.0 holds 0. More test texts would tell.",
    ("en", "loses"): "The transformer does not earn its cost: the linear baseline is 8.0 points more accurate (-13.0 to -3.0). Is the base "
    "model of the right language?",
    ("ko", "earns"): "트랜스포머가 제값을 합니다: 선형 기준 모델보다 정확도가 8.0%p 높습니다 (+3.0 ~ +13.0).",
    ("ko", "unclear"): "트랜스포머가 제값을 하는지 알 수 없습니다: 선형 기준 모델과의 차이는 +2.0%p이고 신뢰구간 -1.0 ~ +5.0에 0이 "
    "들어 있습니다. 테스트 문장을 늘려 보세요.",
    ("ko", "loses"): "트랜스포머가 제값을 못 합니다: 선형 기준 모델의 정확도가 8.0%p 더 높습니다 (-13.0 ~ -3.0). 기반 모델이 이 언어를 "
    "아는지 확인하세요.",
}


def columns(text: str) -> int:
    """Columns of a console: two for a wide sign, none for a mark on the sign before."""
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def evaluated(language: Language, **changes: Any) -> str:
    names = NAMES[language]
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
    samples = [(f"문장 number {number} " * 20, number % 2, number % 3 % 2, 0.5 + number / 100) for number in range(20)]
    return report.evaluation(language, metrics, [[1000, 250], [50, 1200]], names, samples, [("정말 좋아요", 1, 0.99), ("bad", 0, 1.0)])


@pytest.mark.parametrize(("language", "kind"), SENTENCES)
def test_verdict_says_whether_the_model_earns_its_cost(language: Language, kind: str) -> None:
    said = report.verdict(language, BASELINES[kind])
    assert " ".join(said.split()) == SENTENCES[language, kind]
    assert max(columns(line) for line in said.splitlines()) <= WIDTH


def test_gain_that_touches_zero_is_unclear() -> None:
    assert report.verdict("en", {"gain": 0.0, "gain_low": 0.0, "gain_high": 0.0}).startswith("It is not shown")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_report_has_every_part_and_no_line_is_too_wide(language: Language) -> None:
    text = evaluated(language)
    words = report.WORDS[language]
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


@pytest.mark.parametrize("language", ["en", "ko"])
def test_columns_stand_below_each_other_in_both_scripts(language: Language) -> None:
    lines = evaluated(language).splitlines()
    start = lines.index(report.WORDS[language]["confusion"])
    assert len({columns(line) for line in lines[start + 1 : start + 4]}) == 1
    (head,) = (number for number, line in enumerate(lines) if line.startswith(report.WORDS[language]["class"] + " "))
    assert len({columns(line) for line in lines[head : head + 3]}) == 1
    start = lines.index(report.WORDS[language]["samples"])
    assert len({columns(line[: line.index(" %")]) for line in lines[start + 2 : start + 2 + report.SAMPLES]}) == 1


def test_titles_are_underlined_over_their_whole_width() -> None:
    for language in ("en", "ko"):
        title, line = evaluated(language).splitlines()[:2]
        assert set(line) == {"="}
        assert columns(title) == len(line)


def test_most_confident_mistakes_come_first() -> None:
    lines = evaluated("en").splitlines()
    start = lines.index(report.WORDS["en"]["mistakes"])
    shares = [float(line.split()[3]) for line in lines[start + 2 : start + 2 + report.SAMPLES]]
    assert shares == sorted(shares, reverse=True)
    assert all(line.startswith("✗") for line in lines[start + 2 : start + 2 + report.SAMPLES])


def test_parts_without_content_say_so_or_stay_away() -> None:
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
    text = report.evaluation("en", {**metrics, "baseline": baseline, "classes": classes}, [[1, 0], [0, 1]], NAMES["en"], samples, [])
    assert "ROC-AUC" not in text
    assert "Probe texts" not in text
    assert "Most confident mistakes\nnone" in text


def test_many_classes_are_listed_by_their_largest_confusions() -> None:
    names = [f"class {number}" for number in range(report.MATRIX_CLASSES + 1)]
    counts = [[100 if true == predicted else 10 * true + predicted for predicted in range(len(names))] for true in range(len(names))]
    lines = report._confusion(report.WORDS["en"], counts, names).splitlines()
    assert lines[0] == report.WORDS["en"]["confusions"]
    assert [" ".join(line.split()) for line in lines[1:3]] == ["109 class 10 -> class 9", "108 class 10 -> class 8"]
    assert len(lines) == 1 + report.MATRIX_CLASSES
