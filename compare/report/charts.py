"""Charts of the report, as SVG: every one shows losses in the same colours."""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from nnunet_losses.compare.trainings import trainings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from nnunet_losses.compare.outcomes import Comparison, Outcome
    from nnunet_losses.compare.statistics import Ranking
    from nnunet_losses.serve.metrics.intervals import Estimate

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "nnunet-losses",  # equal figures give equal files
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8f98",
    "axes.labelcolor": "#3c4149",
    "xtick.color": "#3c4149",
    "ytick.color": "#3c4149",
    "axes.grid": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
}
# Okabe and Ito's palette for the colour-blind, then muted further ones
_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#333333",
    "#a6761d", "#7570b3", "#66a61e", "#e7298a", "#5e3c99", "#8c564b", "#bcbd22",
    "#17becf", "#7f7f7f", "#aec7e8", "#ff9896", "#98df8a", "#c5b0d5",
)  # fmt: skip


def colours(comparison: Comparison) -> dict[str, str]:
    """Colour of each loss."""
    return {one.loss: _COLOURS[index % len(_COLOURS)] for index, one in enumerate(comparison.outcomes)}


def forest(comparison: Comparison) -> str:
    """Dice of every loss with its interval; small marks are the single trainings."""
    order = ordered(comparison, "dice")
    figure, axes = _figure(6.4, 0.8 + len(order) * min(0.5, max(0.28, 4 / len(order))))
    for place, outcome in enumerate(reversed(order)):
        estimate, colour = comparison.figures[outcome.loss]["dice"], colours(comparison)[outcome.loss]
        single = [one.dice for one in trainings(comparison, outcome)] if len(outcome.runs) > 1 else []
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=2.5, alpha=0.55,
                  solid_capstyle="round")  # fmt: skip
        axes.plot(estimate.value, place, "o", color=colour, markersize=8)
        axes.plot(single, [place] * len(single), "|", color="#1b1f24", markersize=9, markeredgewidth=1.2)
    axes.set_yticks(range(len(order)), [one.title for one in reversed(order)])
    axes.set_xlabel(f"Dice of {comparison.label}, with 95 % interval; strokes: single trainings")
    axes.grid(visible=False, axis="y")
    return _svg(figure)


def pareto(comparison: Comparison) -> str:
    """Dice of cases with a lesion against specificity: rings as it is, dots with the threshold."""
    figure, axes = _figure(7.4, 5.0)
    for outcome in comparison.outcomes:
        figures, colour = comparison.figures[outcome.loss], colours(comparison)[outcome.loss]
        dice, raw, after = (figures[key] for key in ("dice", "specificity", "specificity_calibrated"))
        _cross(axes, raw, dice, colour)
        axes.plot([raw.value, after.value], [dice.value, dice.value], ":", color=colour, linewidth=1.2)
        axes.plot(after.value, dice.value, "o", color=colour, markersize=6)
        axes.plot(raw.value, dice.value, "o", color=colour, markersize=11, markerfacecolor="none",
                  markeredgewidth=2, label=outcome.title)  # fmt: skip
    for outcome in _front(comparison):
        figures = comparison.figures[outcome.loss]
        axes.annotate(
            outcome.title,
            (figures["specificity"].value, figures["dice"].value),
            (8, 8),
            textcoords="offset points",
            fontsize=9,
            color=colours(comparison)[outcome.loss],
        )
    axes.set_xlim(-0.04, 1.04)
    axes.set_xlabel("specificity: share of lesion-free cases left empty (exact 95 % interval)")
    axes.set_ylabel("Dice of the cases with a lesion")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return _svg(figure)


def _front(comparison: Comparison) -> Iterator[Outcome]:
    """Losses that no other beats in both."""
    points = {
        one.loss: (
            comparison.figures[one.loss]["specificity"].value,
            comparison.figures[one.loss]["dice"].value,
        )
        for one in comparison.outcomes
    }
    for outcome in comparison.outcomes:
        mine = points[outcome.loss]
        if not any(all(a >= b for a, b in zip(p, mine, strict=True)) and p != mine for p in points.values()):
            yield outcome


def critical_difference(comparison: Comparison, ranking: Ranking) -> str:
    """Mean ranks on a line; bars join losses among which no pair is shown to differ."""
    titles = {one.loss: one.title for one in comparison.outcomes}
    ranks, count = ranking.mean_ranks, len(ranking.mean_ranks)
    half = math.ceil(count / 2)
    figure, axes = _figure(7.4, 1.0 + 0.26 * half + 0.16 * len(ranking.groups))
    axes.set_axis_off()
    below = 0.5 + 0.45 * len(ranking.groups)
    axes.set(xlim=(0.2 - count * 0.28, count * 1.28 + 0.8), ylim=(-below - half * 0.75 - 0.2, 1.2))
    axes.plot([1, count], [0, 0], color="#3c4149", linewidth=1.2)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, 0.18], color="#3c4149", linewidth=1)
        axes.text(tick, 0.3, str(tick), ha="center", fontsize=9)
    for place, (loss, rank) in enumerate(ranks.items()):
        left = place < half
        level = -below - 0.75 * (place if left else count - 1 - place)
        edge = 1 - count * 0.04 if left else count + count * 0.04
        colour = colours(comparison)[loss]
        axes.plot([rank, rank, edge], [0, level, level], color=colour, linewidth=1.1)
        axes.annotate(f"{titles[loss]}  {rank:.2f}", (edge, level), (-5 if left else 5, 0),
                      textcoords="offset points", ha="right" if left else "left", va="center",
                      fontsize=9.5, color=colour)  # fmt: skip
    for level, group in enumerate(ranking.groups):
        first, last = ranks[group[0]], ranks[group[-1]]
        height = -0.35 - 0.4 * level
        axes.plot([first - 0.06, last + 0.06], [height, height], color="#3c4149", linewidth=3.5,
                  solid_capstyle="round")  # fmt: skip
    return _svg(figure)


def size_curves(comparison: Comparison, unit: str) -> str:
    """Share of found lesions by their size; empty without lesions of different sizes."""
    figure, axes = _figure(7.4, 3.8)
    ticks: list[str] = []
    for offset, outcome in enumerate(comparison.outcomes):
        rows = comparison.by_size(outcome)
        ticks = [f"{_size(low)} – {_size(high)}\n{estimate.n} lesions" for low, high, estimate in rows]
        shift = (offset - len(comparison.outcomes) / 2) * 0.5 / max(len(comparison.outcomes), 1)
        places = np.arange(len(rows)) + shift
        colour = colours(comparison)[outcome.loss]
        axes.vlines(
            places, [one.low for *_, one in rows], [one.high for *_, one in rows], color=colour, alpha=0.35
        )
        axes.plot(places, [one.value for *_, one in rows], "o-", color=colour, markersize=5, linewidth=1.4,
                  label=outcome.title)  # fmt: skip
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlabel(f"lesion size ({unit})")
    axes.set_ylabel("found lesions")
    axes.set_ylim(-0.03, 1.03)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return _svg(figure) if ticks else ""


def training_curves(comparison: Comparison) -> str:
    """nnU-Net's running validation Dice by epoch, one line per training; faint lines are not smoothed."""
    figure, axes = _figure(7.4, 3.8)
    for outcome in comparison.outcomes:
        colour = colours(comparison)[outcome.loss]
        for index, run in enumerate(outcome.runs):
            dice = np.array(run.result.curves.running_dice)
            epochs = np.arange(1, len(dice) + 1)
            mark = "o" if len(dice) == 1 else ""
            axes.plot(epochs, dice, color=colour, alpha=0.15, linewidth=0.8)
            axes.plot(epochs, smoothed(dice), marker=mark, color=colour, linewidth=1.5,
                      label=outcome.title if not index else None)  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_ylabel("running validation Dice")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return _svg(figure)


def loss_curves(comparison: Comparison) -> str:
    """Training loss by epoch, a small picture for each loss: their values cannot be compared."""
    columns = 4
    rows = math.ceil(len(comparison.outcomes) / columns)
    figure, grid = _figure(8.4, 1.7 * rows + 0.2, rows=rows, columns=columns)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, outcome in zip(grid.flat, comparison.outcomes, strict=False):
        axes.set_axis_on()
        for run in outcome.runs:
            values = run.result.curves.training_loss
            axes.plot(
                range(1, len(values) + 1), values, color=colours(comparison)[outcome.loss], linewidth=1.2
            )
        axes.set_title(outcome.title, fontsize=9)
        axes.tick_params(labelsize=7)
    return _svg(figure)


def cost(comparison: Comparison) -> str:
    """Median seconds of an epoch, and the largest memory, by loss."""
    figure, grid = _figure(8.4, 0.9 + 0.28 * len(comparison.outcomes), columns=2)
    left, right = grid[0]
    names = [one.title for one in reversed(comparison.outcomes)]
    shades = [colours(comparison)[one.loss] for one in reversed(comparison.outcomes)]
    seconds = [seconds_per_epoch(one) for one in reversed(comparison.outcomes)]
    tenths = [_tenths(one) for one in reversed(comparison.outcomes)]
    memory = [peak_memory(one) / 2**30 for one in reversed(comparison.outcomes)]
    for axes, values, label in (
        (left, seconds, "median s per epoch"),
        (right, memory, "largest memory (GiB)"),
    ):
        axes.barh(names, values, color=shades, height=0.62)
        axes.set_xlabel(label)
        axes.grid(visible=False, axis="y")
    left.hlines(range(len(names)), *np.transpose(tenths), color="#1b1f24", linewidth=1)
    right.set_yticklabels([])
    return _svg(figure)


def seconds_per_epoch(outcome: Outcome) -> float:
    """Median over all epochs of all trainings."""
    return float(np.median(_seconds(outcome)))


def unevenness(outcome: Outcome) -> float:
    """How many times longer the slowest tenth of the epochs took than the fastest."""
    fast, slow = _tenths(outcome)
    return slow / fast if fast else math.inf


def _tenths(outcome: Outcome) -> tuple[float, float]:
    fast, slow = np.quantile(_seconds(outcome), [0.1, 0.9])
    return float(fast), float(slow)


def _seconds(outcome: Outcome) -> list[float]:
    return [value for run in outcome.runs for value in run.result.cost.seconds_per_epoch]


def peak_memory(outcome: Outcome) -> int:
    """Bytes, largest of all trainings."""
    return max(run.result.cost.peak_memory for run in outcome.runs)


def ordered(comparison: Comparison, name: str) -> list[Outcome]:
    """Losses by a figure, largest first; those without it last."""

    def key(outcome: Outcome) -> float:
        value = comparison.figures[outcome.loss][name].value
        return math.inf if math.isnan(value) else -value

    return sorted(comparison.outcomes, key=key)


def smoothed(values: Any, weight: float = 0.7) -> Any:
    """Exponential mean of a curve; NaN is passed over."""
    result, last = [], math.nan
    for value in values:
        known = last if math.isnan(value) else value
        last = known if math.isnan(last) else weight * last + (1 - weight) * known
        result.append(last)
    return np.array(result)


def _size(value: float) -> str:
    """Three digits, without an exponent where people would write none."""
    return f"{value:.3g}" if value < 1000 else f"{value / 1000:.3g}k" if value < 1e6 else f"{value:.2g}"


def _cross(axes: Axes, across: Estimate, upwards: Estimate, colour: str) -> None:
    axes.plot([across.low, across.high], [upwards.value] * 2, color=colour, alpha=0.3, linewidth=1.2)
    axes.plot([across.value] * 2, [upwards.low, upwards.high], color=colour, alpha=0.3, linewidth=1.2)


def _figure(width: float, height: float, *, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=rows == columns == 1)
    return figure, axes


def _svg(figure: Figure) -> str:
    """Without the head of a file, for a page; the font is the page's."""
    with mpl.rc_context(_STYLE):
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    return text[text.index("<svg") :]
