"""The evaluation report as text: metrics, confusions and answers come in, a report in English or Korean goes out."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from serving.inference.labels import label_name
from stages.shared.report import console
from stages.shared.report.words import Language, read_words

Sample = tuple[str, int, int, float]  # text, true class id, predicted class id, score
Probe = tuple[str, int, float]  # text, predicted class id, score

SAMPLES = 5
NEARLY_ALL = 0.9  # share of the answers
MARGIN = 0.1  # by which the share of a class among the answers exceeds its share among the texts
MATRIX_CLASSES = 10  # with more classes, the report lists the largest confusions


def evaluation(
    language: Language,
    metrics: Mapping[str, Any],
    confusion: Sequence[Sequence[int]],
    names: Sequence[str],
    samples: Sequence[Sample],
    probes: Sequence[Probe],
    *,
    is_foreign: bool,
) -> str:
    """Return the report: warnings, scores, verdict, classes, confusions, samples, mistakes, probe texts.

    confusion: counts (true, predicted). names: class names in id order. is_foreign: the model does not know the language of the texts.
    """
    words = read_words(language, "evaluation")
    mistakes = sorted((sample for sample in samples if sample[1] != sample[2]), key=lambda sample: -sample[3])
    step = max(1, len(samples) // SAMPLES)
    return console.render(
        [
            *([words["foreign"]] if is_foreign else []),
            *_one_class(words, confusion, names),
            console.title(words["title"].format(**metrics)),
            _scores(words, metrics),
            verdict(language, metrics["baseline"]),
            _classes(words, metrics["classes"]),
            _confusion(words, confusion, names),
            _answers(words, "samples", samples[::step][:SAMPLES], names),
            _answers(words, "mistakes", mistakes[:SAMPLES], names),
            *([_probes(words, probes, names)] if probes else []),
        ]
    )


def _one_class(words: Mapping[str, str], counts: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """Return a warning if nearly all answers are one class, and far fewer texts are."""
    total = sum(map(sum, counts))
    for number, name in enumerate(names):
        answered, true = sum(row[number] for row in counts) / total, sum(counts[number]) / total
        if answered > NEARLY_ALL and true < answered - MARGIN:
            return [words["one_class"].format(name=name, answered=100 * answered, true=100 * true)]
    return []


def verdict(language: Language, baseline: Mapping[str, Any]) -> str:
    """Say whether the transformer is worth its cost, compared with the linear baseline."""
    gain, low, high = (100 * baseline[key] for key in ("gain", "gain_low", "gain_high"))
    outcome = "earns" if low > 0 else "loses" if high < 0 else "unclear"
    return read_words(language, "evaluation")[outcome].format(gain=gain, loss=-gain, low=low, high=high)


def _scores(words: Mapping[str, str], metrics: Mapping[str, Any]) -> RenderableType:
    table = console.table(console.name(), console.number(), console.text(), header=False)
    for key in ("accuracy", "f1", "precision", "recall"):
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        interval = words["interval"].format(low=100 * low, high=100 * high) if low is not None and high is not None else ""
        table.add_row(words[key], _percent(metrics[key]), interval)
    if metrics["roc_auc"] is not None:
        table.add_row(words["roc_auc"], f"{metrics['roc_auc']:.3f}")
    table.add_row(words["calibration"], _percent(metrics["calibration_error"]))
    table.add_row(words["uncertain"], _percent(metrics["uncertain_share"]))
    table.add_row(words["fp32"], _percent(metrics["fp32_accuracy"]))
    table.add_row(words["baseline"], _percent(metrics["baseline"]["accuracy"]))
    return table


def _classes(words: Mapping[str, str], classes: Mapping[str, Mapping[str, float]]) -> RenderableType:
    head = (words["precision"], words["recall"], "F1", words["texts"])
    table = console.table(console.name(words["class"]), *map(console.number, head))
    for name, values in classes.items():
        table.add_row(name, *(_percent(values[key]) for key in ("precision", "recall", "f1")), f"{values['texts']:,}")
    return table


def _confusion(words: Mapping[str, str], counts: Sequence[Sequence[int]], names: Sequence[str]) -> RenderableType:
    if len(names) > MATRIX_CLASSES:
        return _largest_confusions(words, counts, names)
    table = console.table(console.name(), *map(console.number, names))
    for name, row in zip(names, counts, strict=True):
        table.add_row(name, *(f"{count:,}" for count in row))
    return Group(words["confusion"], table)


def _largest_confusions(words: Mapping[str, str], counts: Sequence[Sequence[int]], names: Sequence[str]) -> RenderableType:
    classes = range(len(names))
    cells = [(counts[true][predicted], names[true], names[predicted]) for true in classes for predicted in classes if true != predicted]
    table = console.table(console.number(), console.text(), header=False)
    for count, true, predicted in sorted(filter(lambda cell: cell[0], cells), reverse=True)[:MATRIX_CLASSES]:
        table.add_row(f"{count:,}", f"{true} -> {predicted}")
    return Group(words["confusions"], table if table.row_count else words["none"])


def _answers(words: Mapping[str, str], title: str, samples: Sequence[Sample], names: Sequence[str]) -> RenderableType:
    if not samples:
        return Group(words[title], words["none"])
    head = (console.name(), console.name(words["true"]), console.name(words["predicted"]))
    table = console.table(*head, console.number(words["score"]), console.text(words["text"]))
    for text, true, predicted, score in samples:
        table.add_row("✓" if true == predicted else "✗", names[true], names[predicted], _percent(score), text)
    return Group(words[title], table)


def _probes(words: Mapping[str, str], probes: Sequence[Probe], names: Sequence[str]) -> RenderableType:
    table = console.table(console.name(), console.name(), console.number(), console.text(), header=False)
    for text, class_id, score in probes:
        table.add_row(label_name(class_id), names[class_id], _percent(score), text)
    return Group(words["probes"], table)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
