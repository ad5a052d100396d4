"""Count the emotions of the AI Hub corpus: 60 codes, 6 groups, by age, gender and situation.

Reads: the corpus JSON. Writes: a CSV with all 60 codes, a picture, the ten most
frequent as text, metrics/emotion_distribution.json. An independent branch
of the graph: it needs no model and imports no torch. Shares are percent and sum to exactly 100.
"""

import csv
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from stages.shared import aihub, command, params, tracking
from stages.shared.outputs import atomic_files, write_metrics, write_text
from stages.shared.report import plots
from stages.shared.report.console import Language, pad, show, width
from stages.shared.sources.aihub import Dialogue, read_corpus

log = logging.getLogger("emotion_distribution")

SHARE_DIGITS = 4
BREAKDOWNS = {"age": aihub.AGES, "gender": aihub.GENDERS, "situation": aihub.SITUATIONS}


class EmotionParams(params.Section):
    corpus: str
    report_language: Language


@dataclass(frozen=True)
class Paths(command.Paths):
    corpus: Annotated[Path, "AI Hub JSON"]
    table: Annotated[Path, "CSV to write"]
    picture: Annotated[Path, "PNG to write"]
    report: Annotated[Path, "text to write"]
    metrics: Annotated[Path, "JSON to write"]


def run(language: Language, paths: Paths, store: tracking.Store) -> None:
    """Count, write, draw, report the ten most frequent."""
    dialogues = read_corpus(paths.corpus)
    counts = Counter(dialogue.emotion for dialogue in dialogues)
    emotions = {code: counts[code] for code in aihub.EMOTIONS}
    shares = percentages(emotions)
    write_table(paths.table, dialogues, emotions, shares)
    write_metrics(paths.metrics, distribution(dialogues, emotions))
    draw(paths.picture, emotions, len(dialogues))
    ranked = sorted(emotions, key=lambda code: (-emotions[code], code))
    rows = [(code, f"{aihub.EMOTIONS[code].korean} ({aihub.EMOTIONS[code].english})", emotions[code], shares[code]) for code in ranked]
    text = text_report(language, rows, len(dialogues))
    write_text(paths.report, text)
    show(text)
    tracking.log_own_run(store, "emotion_distribution", paths.metrics, [paths.picture])


def percentages(counts: Mapping[str, int]) -> dict[str, float]:
    """Return shares in percent that sum to exactly 100 (largest remainders get what rounding left)."""
    total, unit = sum(counts.values()), 100 * 10**SHARE_DIGITS
    if total == 0:
        return dict.fromkeys(counts, 0.0)
    parts = {key: divmod(count * unit, total) for key, count in counts.items()}
    missing = unit - sum(whole for whole, _ in parts.values())
    rounded_up = sorted(parts, key=lambda key: -parts[key][1])[:missing]
    return {key: (whole + (key in rounded_up)) / 10**SHARE_DIGITS for key, (whole, _) in parts.items()}


def distribution(dialogues: Sequence[Dialogue], emotions: Mapping[str, int]) -> dict[str, Any]:
    """Return counts and shares of emotions, groups, ages, genders and situations; the table has them crossed."""
    metrics: dict[str, Any] = {
        "dialogues": len(dialogues),
        "profiles": len({dialogue.profile for dialogue in dialogues}),
        "emotions": _counts_and_shares(emotions),
        "groups": _counts_and_shares(_by_group(dialogue.group for dialogue in dialogues)),
    }
    for what, names in BREAKDOWNS.items():
        found = Counter(getattr(dialogue, what) for dialogue in dialogues)
        metrics[f"by_{what}"] = _counts_and_shares({code: found[code] for code in sorted({*names, *found})})
    return metrics


def _by_group(groups: Iterable[str]) -> dict[str, int]:
    counts = Counter(groups)
    return {name.korean: counts[code] for code, name in aihub.GROUPS.items()}


def _counts_and_shares(counts: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    shares = percentages(counts)
    return {key: {"count": count, "share": shares[key]} for key, count in counts.items()}


def write_table(file: Path, dialogues: Sequence[Dialogue], emotions: Mapping[str, int], shares: Mapping[str, float]) -> None:
    """Write a row per code: names, group, count, share, and the counts by age, gender and situation code."""
    columns = [(what, code) for what, names in BREAKDOWNS.items() for code in sorted({*names, *(getattr(d, what) for d in dialogues)})]
    cells = Counter((dialogue.emotion, what, getattr(dialogue, what)) for dialogue in dialogues for what in BREAKDOWNS)
    with atomic_files(file) as (draft,), draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["code", "name", "english", "group", "group_english", "count", "share", *(code for _, code in columns)])
        for code, name in aihub.EMOTIONS.items():
            group = aihub.GROUPS[code[:2]]
            counts = [cells[code, what, value] for what, value in columns]
            writer.writerow([code, *name, *group, emotions[code], f"{shares[code]:.{SHARE_DIGITS}f}", *counts])


def draw(file: Path, emotions: Mapping[str, int], dialogues: int) -> None:
    """Draw one panel per group, labelled in Korean where a font for it is found, else in English."""
    korean = [f"{code} {name.korean}" for code, name in aihub.EMOTIONS.items()]
    english = [f"{code} {name.english}" for code, name in aihub.EMOTIONS.items()]
    labels = dict(zip(aihub.EMOTIONS, plots.drawable(korean, english), strict=True))
    in_korean = labels["E10"] == korean[0]
    bars = {
        f"{name.korean} {name.english}" if in_korean else name.english: {
            labels[code]: emotions[code] for code in aihub.EMOTIONS if code.startswith(group)
        }
        for group, name in aihub.GROUPS.items()
    }
    title = f"감정 분포: 대화 {dialogues:,}개" if in_korean else f"Emotions in {dialogues:,} dialogues"
    plots.grouped_bars(bars, title, file)


def text_report(language: Language, rows: Sequence[tuple[str, str, int, float]], dialogues: int) -> str:
    """Return the ten most frequent emotions. rows: code, name, count, share in percent; most frequent first."""
    title = {"en": "Most frequent of the 60 emotions in {n:,} dialogues", "ko": "대화 {n:,}개에서 가장 잦은 감정 (60가지 중)"}[
        language
    ].format(n=dialogues)
    longest = max(count for _, _, count, _ in rows) or 1
    lines = [
        f"{code}  {pad(name, 34)} {count:>7,}  {share:5.2f} %  {'█' * round(24 * count / longest)}"
        for code, name, count, share in rows[:10]
    ]
    return "\n".join([title, "=" * width(title), *lines]) + "\n"


def main() -> None:
    """Wire flags and params."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "emotion_distribution", EmotionParams)
        run(settings.report_language, paths, tracking.open_store())


if __name__ == "__main__":
    main()
