"""The evaluation report that a person reads on the console, in English or Korean."""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.inference.labels import label_name
from stages.shared.report.console import WIDTH, Language, pad, shorten, width, wrap

Sample = tuple[str, int, int, float]  # text, true class id, predicted class id, score
Probe = tuple[str, int, float]  # text, predicted class id, score

SAMPLES = 5
MATRIX_CLASSES = 10  # larger matrices are listed by their largest confusions

WORDS = {
    "en": {
        "title": "Evaluation of the served model on {texts:,} test texts (engine {engine})",
        "interval": "95 % interval {low:.1f} to {high:.1f}",
        "accuracy": "Accuracy",
        "f1": "F1 (macro)",
        "precision": "Precision",
        "recall": "Recall",
        "roc_auc": "ROC-AUC",
        "fp32": "fp32 engine",
        "calibration": "Calibration error",
        "uncertain": "Uncertain",
        "baseline": "Linear baseline",
        "class": "Class",
        "texts": "texts",
        "confusion": "Confusion matrix (rows: true, columns: predicted)",
        "confusions": "Most frequent confusions (true -> predicted)",
        "samples": "Sample predictions",
        "mistakes": "Most confident mistakes",
        "true": "true",
        "predicted": "predicted",
        "probes": "Probe texts",
        "none": "none",
        "earns": "The transformer earns its cost: it is {gain:.1f} points more accurate than the linear baseline "
        "({low:+.1f} to {high:+.1f}).",
        "unclear": "It is not shown that the transformer earns its cost: {gain:+.1f} points against the linear baseline, and the interval "
        "{low:+.1f} to {high:+.1f} holds 0. More test texts would tell.",
        "loses": "The transformer does not earn its cost: the linear baseline is {loss:.1f} points more accurate "
        "({low:+.1f} to {high:+.1f}). Is the base model of the right language?",
    },
    "ko": {
        "title": "서비스 모델 평가: 테스트 문장 {texts:,}개 (엔진 {engine})",
        "interval": "95 % 신뢰구간 {low:.1f} ~ {high:.1f}",
        "accuracy": "정확도",
        "f1": "F1 (매크로)",
        "precision": "정밀도",
        "recall": "재현율",
        "roc_auc": "ROC-AUC",
        "fp32": "fp32 엔진",
        "calibration": "보정 오차 (ECE)",
        "uncertain": "불확실한 답",
        "baseline": "선형 기준 모델",
        "class": "클래스",
        "texts": "문장 수",
        "confusion": "혼동 행렬 (행: 실제, 열: 예측)",
        "confusions": "가장 잦은 혼동 (실제 -> 예측)",
        "samples": "예측 예시",
        "mistakes": "확신했지만 틀린 예측",
        "true": "실제",
        "predicted": "예측",
        "probes": "확인용 문장",
        "none": "없음",
        "earns": "트랜스포머가 제값을 합니다: 선형 기준 모델보다 정확도가 {gain:.1f}%p 높습니다 ({low:+.1f} ~ {high:+.1f}).",
        "unclear": "트랜스포머가 제값을 하는지 알 수 없습니다: 선형 기준 모델과의 차이는 {gain:+.1f}%p이고 신뢰구간 "
        "{low:+.1f} ~ {high:+.1f}에 0이 들어 있습니다. 테스트 문장을 늘려 보세요.",
        "loses": "트랜스포머가 제값을 못 합니다: 선형 기준 모델의 정확도가 {loss:.1f}%p 더 높습니다 ({low:+.1f} ~ {high:+.1f}). "
        "기반 모델이 이 언어를 아는지 확인하세요.",
    },
}


def evaluation(
    language: Language,
    metrics: Mapping[str, Any],
    confusion: Sequence[Sequence[int]],
    names: Sequence[str],
    samples: Sequence[Sample],
    probes: Sequence[Probe],
) -> str:
    """Return the evaluation report: scores, verdict, classes, confusions, samples, probe texts.

    confusion: counts (true, predicted). names: of the classes, in id order.
    """
    words = WORDS[language]
    title = words["title"].format(**metrics)
    mistakes = sorted((sample for sample in samples if sample[1] != sample[2]), key=lambda sample: -sample[3])
    step = max(1, len(samples) // SAMPLES)
    parts = [
        f"{title}\n{'=' * width(title)}",
        _scores(words, metrics),
        verdict(language, metrics["baseline"]),
        _classes(words, metrics["classes"]),
        _confusion(words, confusion, names),
        _samples(words, words["samples"], samples[::step][:SAMPLES], names),
        _samples(words, words["mistakes"], mistakes[:SAMPLES], names),
        _probes(words, probes, names),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict(language: Language, baseline: Mapping[str, Any]) -> str:
    """Say in a sentence whether the transformer earns its cost against the linear baseline."""
    gain, low, high = (100 * baseline[key] for key in ("gain", "gain_low", "gain_high"))
    kind = "earns" if low > 0 else "loses" if high < 0 else "unclear"
    return wrap(WORDS[language][kind].format(gain=gain, loss=-gain, low=low, high=high))


def _scores(words: Mapping[str, str], metrics: Mapping[str, Any]) -> str:
    rows = []
    for key in ("accuracy", "f1", "precision", "recall"):
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        interval = f"   {words['interval'].format(low=100 * low, high=100 * high)}" if low is not None and high is not None else ""
        rows.append((words[key], f"{100 * metrics[key]:5.1f} %{interval}"))
    if metrics["roc_auc"] is not None:
        rows.append((words["roc_auc"], f"{metrics['roc_auc']:7.3f}"))
    rows += [
        (words[name], f"{100 * metrics[key]:5.1f} %")
        for name, key in (("calibration", "calibration_error"), ("uncertain", "uncertain_share"), ("fp32", "fp32_accuracy"))
    ]
    rows.append((words["baseline"], f"{100 * metrics['baseline']['accuracy']:5.1f} %"))
    return "\n".join(f"{pad(name, 17)} {value}" for name, value in rows)


def _classes(words: Mapping[str, str], classes: Mapping[str, Mapping[str, float]]) -> str:
    columns = max(12, *(width(name) for name in (*classes, words["class"])))
    head = [words["precision"], words["recall"], "F1", words["texts"]]
    lines = [f"{pad(words['class'], columns)} " + " ".join(pad(word, 10, right=True) for word in head)]
    for name, values in classes.items():
        shares = " ".join(f"{100 * values[key]:8.1f} %" for key in ("precision", "recall", "f1"))
        lines.append(f"{pad(name, columns)} {shares} {values['texts']:>10,}")
    return "\n".join(lines)


def _confusion(words: Mapping[str, str], counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    if len(names) > MATRIX_CLASSES:
        cells = [(counts[t][p], names[t], names[p]) for t in range(len(names)) for p in range(len(names)) if t != p and counts[t][p]]
        lines = [f"{count:>6,}  {true} -> {predicted}" for count, true, predicted in sorted(cells, reverse=True)[:MATRIX_CLASSES]]
        return "\n".join([words["confusions"], *(lines or [words["none"]])])
    columns = max(10, *(width(name) for name in names))
    lines = [" " * (columns + 1) + " ".join(pad(name, columns, right=True) for name in names)]
    lines += [f"{pad(name, columns)} " + " ".join(f"{count:>{columns},}" for count in row) for name, row in zip(names, counts, strict=True)]
    return "\n".join([words["confusion"], *lines])


def _samples(words: Mapping[str, str], title: str, samples: Sequence[Sample], names: Sequence[str]) -> str:
    if not samples:
        return f"{title}\n{words['none']}"
    columns = max(width(name) for name in (*names, words["true"], words["predicted"]))
    lines = [f"  {pad(words['true'], columns)}  {pad(words['predicted'], columns)}"]
    for text, true, predicted, certainty in samples:
        mark = "✓" if true == predicted else "✗"
        shown = shorten(text, WIDTH - 2 * columns - 16)
        lines.append(f"{mark} {pad(names[true], columns)}  {pad(names[predicted], columns)}  {100 * certainty:5.1f} %  {shown}")
    return "\n".join([title, *lines])


def _probes(words: Mapping[str, str], probes: Sequence[Probe], names: Sequence[str]) -> str:
    if not probes:
        return ""
    columns = max(width(name) for name in names)
    lines = [
        f"{label_name(number):<9} {pad(names[number], columns)}  {100 * certainty:5.1f} %  {shorten(text, WIDTH - columns - 21)}"
        for text, number, certainty in probes
    ]
    return "\n".join([words["probes"], *lines])
