"""Charts of the report, as SVG: every one shows losses in the same colours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.compare.trainings import trainings

from .drawing import INK, SOFT, WIDTH, add_legend, marks, new_figure, svg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from nnunet_losses.compare.outcomes import Comparison, Outcome
    from nnunet_losses.compare.statistics import Ranking
    from nnunet_losses.serve.metrics.intervals import Estimate


def forest(comparison: Comparison) -> str:
    """Dice of every loss with its interval; small strokes are the single trainings."""
    order = ordered(comparison, "dice")
    figure, axes = new_figure(WIDTH, 0.8 + len(order) * min(0.42, max(0.26, 3.4 / len(order))))
    for place, outcome in enumerate(reversed(order)):
        estimate, mark = comparison.figures[outcome.loss]["dice"], marks(comparison)[outcome.loss]
        single = [one.dice for one in trainings(comparison, outcome)] if len(outcome.runs) > 1 else []
        axes.plot([estimate.low, estimate.high], [place, place], color=mark.colour, linewidth=2.5, alpha=0.55,
                  solid_capstyle="round")  # fmt: skip
        axes.plot(estimate.value, place, mark.shape, color=mark.colour, markersize=7.5)
        axes.plot(single, [place] * len(single), "|", color=INK, markersize=9, markeredgewidth=1.2)
    axes.set_yticks(range(len(order)), [one.title for one in reversed(order)])
    axes.set_ylim(-0.6, len(order) - 0.4)
    strokes = "; strokes: single trainings" if any(len(one.runs) > 1 for one in order) else ""
    axes.set_xlabel(f"Dice of {comparison.label}, with 95 % interval{strokes}")
    axes.grid(visible=False, axis="y")
    words = [f"{one.title} {comparison.figures[one.loss]['dice'].value:.3f}" for one in order]
    return svg(figure, "forest", f"Mean Dice with intervals: {', '.join(words)}.")


def pareto(comparison: Comparison) -> str:
    """Dice of cases with a lesion against specificity: rings as it is, dots with the threshold."""
    figure, axes = new_figure(WIDTH, 3.2)
    for outcome in comparison.outcomes:
        figures, mark = comparison.figures[outcome.loss], marks(comparison)[outcome.loss]
        dice, raw, after = (figures[key] for key in ("dice", "specificity", "specificity_calibrated"))
        _cross(axes, raw, dice, mark.colour)
        axes.plot([raw.value, after.value], [dice.value, dice.value], ":", color=mark.colour, linewidth=1.2)
        axes.plot(after.value, dice.value, mark.shape, color=mark.colour, markersize=5)
        axes.plot(raw.value, dice.value, mark.shape, color=mark.colour, markersize=10, markerfacecolor="none",
                  markeredgewidth=1.8, label=outcome.title)  # fmt: skip
    front = list(_front(comparison))
    for outcome in front:
        figures = comparison.figures[outcome.loss]
        right = figures["specificity"].value > 0.6  # the name goes to where there is room
        axes.annotate(outcome.title, (figures["specificity"].value, figures["dice"].value),
                      (-8 if right else 8, 8), textcoords="offset points", fontsize=9,
                      ha="right" if right else "left", color=INK)  # fmt: skip
    axes.set_xlim(-0.04, 1.04)
    axes.set_xlabel("specificity: share of lesion-free cases left empty (exact 95 % interval)")
    axes.set_ylabel("Dice of the cases with a lesion")
    add_legend(figure, axes)
    named = ", ".join(one.title for one in front)
    return svg(figure, "pareto", f"Dice against specificity. No other loss is better in both than: {named}.")


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
        if not any(map(math.isnan, mine)) and not any(
            all(a >= b for a, b in zip(p, mine, strict=True)) and p != mine for p in points.values()
        ):
            yield outcome


def critical_difference(comparison: Comparison, ranking: Ranking) -> str:
    """Mean ranks on a line; bars join losses among which no pair is shown to differ; empty without ranks."""
    ranks, count = ranking.mean_ranks, len(ranking.mean_ranks)
    if any(map(math.isnan, ranks.values())):
        return ""
    half, below = math.ceil(count / 2), 0.7 + 0.4 * len(ranking.groups)
    figure, axes = new_figure(WIDTH, 0.7 + 0.24 * half + 0.13 * len(ranking.groups))
    axes.set_axis_off()
    axes.set(xlim=(0.9, count + 0.1), ylim=(-below - half * 0.8, 1.0))
    axes.plot([1, count], [0, 0], color=SOFT, linewidth=1.2)
    step = math.ceil(count / 12)  # more numbers would stand on each other
    for tick in range(1, count + 1, step):
        axes.plot([tick, tick], [0, 0.18], color=SOFT, linewidth=1)
        axes.text(tick, 0.3, str(tick), ha="center", fontsize=9, color=INK)
    for place, loss in enumerate(ranks):
        left = place < half
        level = -below - 0.8 * (place if left else count - 1 - place)
        _rank(axes, comparison, (loss, ranks[loss]), (1 if left else count, level))
    for level, group in enumerate(ranking.groups):
        ends = ranks[group[0]] - 0.012 * count, ranks[group[-1]] + 0.012 * count
        axes.plot(ends, [-0.4 - 0.4 * level] * 2, color=INK, linewidth=3, solid_capstyle="round")
    titles = {one.loss: one.title for one in comparison.outcomes}
    words = ", ".join(f"{titles[loss]} {rank:.2f}" for loss, rank in ranks.items())
    return svg(figure, "ranks", f"Mean ranks: {words}.")


def _rank(axes: Axes, comparison: Comparison, ranked: tuple[str, float], end: tuple[float, float]) -> None:
    """A line from a loss's rank to its name, at the left or right end."""
    loss, rank = ranked
    edge, level = end
    mark, left = marks(comparison)[loss], edge == 1
    title = next(one.title for one in comparison.outcomes if one.loss == loss)
    axes.plot([rank, rank, edge], [0, level, level], color=mark.colour, linewidth=1.2)
    axes.plot(edge, level, mark.shape, color=mark.colour, markersize=4.5, clip_on=False)
    axes.annotate(f"{title}  {rank:.2f}" if left else f"{rank:.2f}  {title}", end, (-6 if left else 6, 0),
                  textcoords="offset points", ha="right" if left else "left", va="center", fontsize=9.5,
                  color=INK)  # fmt: skip


def cost(comparison: Comparison) -> str:
    """Median seconds of an epoch, and the largest memory, by loss."""
    order = list(reversed(comparison.outcomes))
    figure, (left, right) = new_figure(WIDTH, 0.7 + 0.26 * len(order), columns=2)
    shades = [marks(comparison)[one.loss].colour for one in order]
    places = range(len(order))
    left.barh(places, [seconds_per_epoch(one) for one in order], color=shades, height=0.62)
    right.barh(places, [peak_memory(one) / 2**30 for one in order], color=shades, height=0.62)
    left.hlines(places, *np.transpose([_tenths(one) for one in order]), color=INK, linewidth=1)
    left.set_yticks(places, [one.title for one in order])
    right.set_yticks(places, [""] * len(order))
    for axes, label in ((left, "median s per epoch"), (right, "largest memory (GiB)")):
        axes.set_xlabel(label)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.grid(visible=False, axis="y")
    words = ", ".join(f"{one.title} {seconds_per_epoch(one):.3g} s" for one in comparison.outcomes)
    return svg(figure, "cost", f"Median time of an epoch: {words}.")


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


def _cross(axes: Axes, across: Estimate, upwards: Estimate, colour: str) -> None:
    axes.plot([across.low, across.high], [upwards.value] * 2, color=colour, alpha=0.3, linewidth=1.2)
    axes.plot([across.value] * 2, [upwards.low, upwards.high], color=colour, alpha=0.3, linewidth=1.2)
