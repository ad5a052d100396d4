"""The pictures of the project: data come in, PNG files go out. Equal data give equal bytes. Nothing else imports matplotlib."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.inference.labels import label_name
from stages.shared.outputs import atomic_files

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger("plots")

Curve = Sequence[Mapping[str, float]]  # a row of losses and scores for each epoch

INK, MUTED, GRID = "#1f2430", "#697086", "#e4e7ee"
COLOURS = ("#2f6fde", "#e07b39", "#2a9d6f", "#c8447a", "#7d5bd0", "#b59b1f")
DASHES = ("-", (0, (3, 2)), (0, (1, 1.5)))
THINNEST, STEP, WIDEST = 1.6, 0.9, 5.0  # points: of the last line, from a line to the one that it may cover, of the first line
HANGUL_FONTS = {  # name -> beginning of the file name
    "NanumGothic": "nanumgothic",
    "Noto Sans CJK KR": "notosanscjk",
    "Noto Sans KR": "notosanskr",
    "Apple SD Gothic Neo": "applesdgothicneo",
    "Malgun Gothic": "malgun",
}


def hangul_font() -> str | None:
    """Return the name of an installed font with Hangul, or None.

    This searches the disk, because a font may be newer than matplotlib's own list.
    """
    from matplotlib import font_manager

    fonts = font_manager.fontManager
    for file in sorted(font_manager.findSystemFonts()):
        if Path(file).stem.lower().startswith(tuple(HANGUL_FONTS.values())) and not any(font.fname == file for font in fonts.ttflist):
            fonts.addfont(file)
    installed = {font.name for font in fonts.ttflist}
    return next((name for name in HANGUL_FONTS if name in installed), None)


def has_hangul(texts: Iterable[str]) -> bool:
    """Return whether a text has a character of Hangul: a syllable, a single letter or a conjoining letter."""
    return any(
        "\u1100" <= character <= "\u11ff" or "\u3130" <= character <= "\u318f" or "\uac00" <= character <= "\ud7a3"
        for text in texts
        for character in text
    )


def can_draw(texts: Iterable[str]) -> bool:
    """Return whether the installed fonts have the letters of the texts; log a warning if Hangul is missing."""
    if not has_hangul(texts) or hangul_font():
        return True
    warn_of_missing_font()
    return False


@cache
def warn_of_missing_font() -> None:
    """Say once what to install."""
    log.warning("no font with Hangul is installed, so pictures have no Korean words: install one (Debian: apt-get install fonts-nanum)")


def learning_curve(curve: Curve, kept_epoch: float, file: Path) -> None:
    """Draw losses and validation scores by epoch, and mark the kept epoch."""
    epochs = [int(row["epoch"]) for row in curve]
    figure = _figure(9, 3.8)
    loss_axes, score_axes = figure.subplots(1, 2)
    for axes, names, title in (
        (loss_axes, ("train_loss", "validation_loss", "validation_calibrated_loss"), "Loss"),
        (score_axes, ("validation_accuracy", "validation_f1"), "Validation scores"),
    ):
        for name, style in zip(names, _line_styles(len(names)), strict=True):
            axes.plot(
                epochs,
                [row[name] for row in curve],
                label=name.replace("_", " "),
                marker="o",
                markersize=3 + 2 * style["linewidth"],
                **style,
            )
        axes.axvline(kept_epoch, color=MUTED, linestyle=":", label="kept epoch")
        axes.set(xlabel="epoch", xticks=epochs)
        _style_axes(axes, title)
        axes.legend(facecolor="white", edgecolor="none")
        axes.margins(0.08)
    score_axes.set_ylim(top=min(1.01, score_axes.get_ylim()[1]))
    score_axes.set_yticks([tick for tick in score_axes.get_yticks() if score_axes.get_ylim()[0] <= tick <= 1])
    _save(figure, file)


def confusion_matrix(counts: "np.ndarray", class_names: Sequence[str], words: Mapping[str, str], file: Path) -> None:
    """Draw counts (true classes, predicted classes). The colour of a cell is its share of the true class."""
    names = class_names if can_draw(class_names) else [label_name(number) for number in range(len(class_names))]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    size = max(3.6, 0.55 * len(names) + 1.6)
    longest = max(len(name) for name in names)
    slanted = len(names) > 3 or longest > 12
    figure = _figure(size + 1.0 + 0.09 * longest, size + (0.07 * longest if slanted else 0.2))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel=words["predicted"], ylabel=words["true"], xticks=range(len(names)), yticks=range(len(names)))
    axes.set_xticklabels(names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    axes.set_yticklabels(names)
    for row in range(len(names)) if len(names) <= 20 else ():
        for column in range(len(names)):
            colour = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes, label=words["share"], fraction=0.046, pad=0.04)
    axes.set_title(words["confusion"], loc="left", color=INK, fontweight="bold")
    axes.tick_params(length=0)
    _save(figure, file)


def roc_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], float]], class_names: Sequence[str], words: Mapping[str, str], file: Path
) -> None:
    """Draw a ROC curve for each class. curves: class name -> (false positive rates, true positive rates, area)."""
    names = list(curves) if can_draw(curves) else [label_name(class_names.index(name)) for name in curves]
    figure = _figure(5.2, 4.8)
    axes = figure.subplots()
    for name, (fpr, tpr, area), style in zip(names, curves.values(), _line_styles(len(curves)), strict=True):
        axes.plot(fpr, tpr, label=words["area"].format(name=name, area=area) if len(curves) <= 10 else None, **style)
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=":", label=words["chance"])
    axes.set(xlabel=words["false_positive_rate"], ylabel=words["true_positive_rate"], xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal")
    _style_axes(axes, words["roc"])
    axes.legend(frameon=False, loc="lower right", handlelength=3)
    _save(figure, file)


def grouped_bars(groups: Mapping[str, Mapping[str, int]], title: str, file: Path) -> None:
    """Draw a panel of horizontal bars for each group, with count and share of all. groups: group -> (name -> count)."""
    total = max(1, sum(sum(bars.values()) for bars in groups.values()))
    longest = max(max(bars.values()) for bars in groups.values()) or 1
    figure = _figure(12, 1.2 + 0.3 * sum(len(bars) for bars in groups.values()) / 2 + 0.6 * len(groups) / 2)
    panels = figure.subplots((len(groups) + 1) // 2, 2, squeeze=False).flatten()
    for axes, (group, bars), colour in zip(panels, groups.items(), COLOURS * len(groups), strict=False):
        axes.barh(list(bars), list(bars.values()), color=colour, height=0.72)
        axes.invert_yaxis()
        for position, count in enumerate(bars.values()):
            axes.text(count + longest * 0.015, position, f"{count:,} · {100 * count / total:.1f} %", va="center", color=MUTED, fontsize=8.5)
        axes.set_xlim(0, longest * 1.22)
        share = 100 * sum(bars.values()) / total
        _style_axes(axes, f"{group} · {sum(bars.values()):,} · {share:.1f} %")
        axes.tick_params(axis="y", length=0)
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontweight="bold", fontsize=14)
    _save(figure, file)


def _figure(width: float, height: float) -> "Figure":
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    matplotlib.rcParams["font.family"] = [name for name in ("DejaVu Sans", hangul_font()) if name]
    matplotlib.rcParams.update(
        {"text.color": INK, "axes.labelcolor": MUTED, "xtick.color": MUTED, "ytick.color": INK, "axes.edgecolor": GRID}
    )
    return Figure(figsize=(width, height), dpi=120, layout=ConstrainedLayoutEngine(h_pad=0.1), facecolor="white")


def _line_styles(lines: int) -> Iterator[dict[str, Any]]:
    """Yield a style for each line. A line is wider than the ones that are drawn over it, so each of several equal lines is seen."""
    step = min(STEP, (WIDEST - THINNEST) / max(1, lines - 1))
    for number in range(lines):
        width = THINNEST + step * (lines - 1 - number)
        yield {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)], "linewidth": width}


def _style_axes(axes: "Axes", title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontweight="bold")
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _save(figure: "Figure", file: Path) -> None:
    with atomic_files(file) as (draft,):
        figure.savefig(draft, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.15)
