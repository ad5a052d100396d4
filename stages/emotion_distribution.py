"""The stage emotion_distribution: count the emotions of the AI Hub corpus, by code, group, age, gender and situation.

Reads: the JSON of the corpus, and the emotion_distribution section of params.yaml.
Writes: a CSV with all 60 codes, a picture, a report with the ten most frequent emotions, metrics/emotion_distribution.json,
and all counts in data/emotion_distribution.json.

Shares are in percent and sum to exactly 100. The stage is an independent branch of the graph: it needs no model and imports no torch.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.console import Group

from stages.shared import aihub, command, mlflow_store, params, tracking
from stages.shared.outputs import atomic_files, write_metrics, write_text
from stages.shared.report import console, plots
from stages.shared.report.words import Language, read_words
from stages.shared.sources.aihub import Dialogue, read_corpus

COMPARED = ("dialogues", "profiles")
SHARE_DIGITS = 4  # of a share in percent
TOP = 10  # emotions in the report
BAR = 24  # columns of the longest bar
BREAKDOWNS = {"age": aihub.AGES, "gender": aihub.GENDERS, "situation": aihub.SITUATIONS}


class EmotionParams(params.Section):
    """The params of emotion_distribution."""

    corpus: str
    """JSON file of the AI Hub corpus."""
    report_language: Language
    """Language of the report and the picture: English or Korean."""


@dataclass(frozen=True)
class Paths(command.Paths):
    corpus: Annotated[Path, "AI Hub JSON"]
    table: Annotated[Path, "CSV to write"]
    picture: Annotated[Path, "PNG to write"]
    report: Annotated[Path, "text to write"]
    metrics: Annotated[Path, "JSON to write: the figures that one compares"]
    details: Annotated[Path, "JSON to write: all figures"]


def run(language: Language, paths: Paths, store: mlflow_store.Store) -> None:
    """Count the emotions, then write the table, the metrics, the picture and the report."""
    dialogues = read_corpus(paths.corpus)
    counts = Counter(dialogue.emotion for dialogue in dialogues)
    emotions = {code: counts[code] for code in aihub.EMOTIONS}
    shares = percentages(emotions)
    write_table(paths.table, dialogues, emotions, shares)
    write_metrics(paths.metrics, paths.details, distribution(dialogues, emotions), COMPARED)
    draw(paths.picture, language, emotions, len(dialogues))
    report = text_report(language, emotions, shares, len(dialogues))
    write_text(paths.report, report)
    console.show(report)
    tracking.log_own_run(store, "emotion_distribution", paths.params, paths.details, [paths.picture])


def percentages(counts: Mapping[str, int]) -> dict[str, float]:
    """Return shares in percent that sum to exactly 100: the largest remainders are rounded up."""
    total, unit = sum(counts.values()), 100 * 10**SHARE_DIGITS
    if total == 0:
        return dict.fromkeys(counts, 0.0)
    divided = {key: divmod(count * unit, total) for key, count in counts.items()}
    missing = unit - sum(quotient for quotient, _ in divided.values())
    rounded_up = sorted(divided, key=lambda key: -divided[key][1])[:missing]
    return {key: (quotient + (key in rounded_up)) / 10**SHARE_DIGITS for key, (quotient, _) in divided.items()}


def distribution(dialogues: Sequence[Dialogue], emotions: Mapping[str, int]) -> dict[str, Any]:
    """Return counts and shares of emotions, groups, ages, genders and situations, each for itself; the table crosses them."""
    metrics: dict[str, Any] = {
        "dialogues": len(dialogues),
        "profiles": len({dialogue.profile for dialogue in dialogues}),
        "emotions": _counts_and_shares(emotions),
        "groups": _counts_and_shares(_by_group(dialogue.group for dialogue in dialogues)),
    }
    for attribute, names in BREAKDOWNS.items():
        counts = Counter(getattr(dialogue, attribute) for dialogue in dialogues)
        metrics[f"by_{attribute}"] = _counts_and_shares({code: counts[code] for code in sorted({*names, *counts})})
    return metrics


def _by_group(groups: Iterable[str]) -> dict[str, int]:
    counts = Counter(groups)
    return {name.korean: counts[code] for code, name in aihub.GROUPS.items()}


def _counts_and_shares(counts: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    shares = percentages(counts)
    return {key: {"count": count, "share": shares[key]} for key, count in counts.items()}


def write_table(file: Path, dialogues: Sequence[Dialogue], emotions: Mapping[str, int], shares: Mapping[str, float]) -> None:
    """Write a row for each code: names, group, count, share, and the counts by age, gender and situation code."""
    columns = [
        (attribute, code)
        for attribute, names in BREAKDOWNS.items()
        for code in sorted({*names, *(getattr(dialogue, attribute) for dialogue in dialogues)})
    ]
    cells = Counter((dialogue.emotion, attribute, getattr(dialogue, attribute)) for dialogue in dialogues for attribute in BREAKDOWNS)
    with atomic_files(file) as (draft,), draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["code", "name", "english", "group", "group_english", "count", "share", *(code for _, code in columns)])
        for code, name in aihub.EMOTIONS.items():
            group = aihub.GROUPS[code[:2]]
            counts = [cells[code, attribute, value] for attribute, value in columns]
            writer.writerow([code, *name, *group, emotions[code], f"{shares[code]:.{SHARE_DIGITS}f}", *counts])


def draw(file: Path, language: Language, emotions: Mapping[str, int], dialogues: int) -> None:
    """Draw a panel for each group, in English if no installed font has Hangul."""
    in_korean = language == "ko" and plots.can_draw(name.korean for name in aihub.EMOTIONS.values())

    def shown(name: aihub.Name) -> str:
        return name.korean if in_korean else name.english

    bars = {
        shown(name): {f"{code} {shown(aihub.EMOTIONS[code])}": emotions[code] for code in aihub.EMOTIONS if code.startswith(group)}
        for group, name in aihub.GROUPS.items()
    }
    title = read_words("ko" if in_korean else "en", "emotion_distribution")["picture"]
    plots.grouped_bars(bars, title.format(dialogues=dialogues), file)


def text_report(language: Language, counts: Mapping[str, int], shares: Mapping[str, float], dialogues: int) -> str:
    """Return the report with the ten most frequent emotions. counts and shares (in percent): by code."""
    title = read_words(language, "emotion_distribution")["title"].format(dialogues=dialogues)
    table = console.table(console.name(), console.name(max_width=None), console.number(), console.number(), console.text(), header=False)
    ranked = sorted(counts, key=lambda code: (-counts[code], code))
    longest = counts[ranked[0]] or 1
    for code in ranked[:TOP]:
        names = "{} ({})".format(*aihub.EMOTIONS[code])
        table.add_row(code, names, f"{counts[code]:,}", f"{shares[code]:.2f} %", "█" * round(BAR * counts[code] / longest))
    return console.render([Group(console.title(title), table)])


def main() -> None:
    """Read flags and params, then run the stage."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "emotion_distribution", EmotionParams)
        run(settings.report_language, paths, mlflow_store.open_store())


if __name__ == "__main__":
    main()
