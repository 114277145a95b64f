"""Curves of the report, as SVG: found lesions by size, and how trainings went."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing import LINE, SOFT, WIDTH, Mark, add_legend, marks, new_figure, panels, svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from nnunet_losses.compare.outcomes import Comparison, Outcome, Run
    from nnunet_losses.serve.metrics.intervals import Estimate

    Bins = Sequence[tuple[float, float, Estimate]]

_ALONE = Mark("#0072b2", "o")
_TOGETHER = 7  # losses in one picture; more are drawn one by one, before the others in grey


def size_curves(comparison: Comparison, unit: str) -> str:
    """Share of found lesions by their size; empty without lesions of different sizes."""
    rows = {one.loss: comparison.by_size(one) for one in comparison.outcomes}
    first = next(iter(rows.values()), [])
    if not first:
        return ""
    words = "Share of the reference lesions that were found, by their size."
    if len(rows) > _TOGETHER:
        return panels(
            comparison.outcomes, "size", words, lambda axes, one: _size_panel(axes, one, rows, unit)
        )
    figure, axes = new_figure(WIDTH, 2.9)
    for index, outcome in enumerate(comparison.outcomes):
        shift = (index - (len(rows) - 1) / 2) * 0.5 / len(rows)
        _size_curve(axes, rows[outcome.loss], shift, marks(comparison)[outcome.loss], outcome.title)
    ticks = [f"{_size(low)} – {_size(high)}\n{one.n} lesions" for low, high, one in first]
    axes.set_xticks(range(len(first)), ticks, fontsize=8)
    axes.set_xlabel(f"lesion size ({unit})")
    axes.set_ylabel("found lesions (share)")
    axes.set_ylim(-0.03, 1.03)
    add_legend(figure, axes)
    return svg(figure, "size", words)


def _size_curve(axes: Axes, rows: Bins, shift: float, mark: Mark, title: str) -> None:
    places = np.arange(len(rows)) + shift
    lows, highs = ([getattr(one, end) for *_, one in rows] for end in ("low", "high"))
    axes.vlines(places, lows, highs, color=mark.colour, alpha=0.45)
    axes.plot(places, [one.value for *_, one in rows], linestyle="-", marker=mark.shape, color=mark.colour,
              markersize=5, linewidth=1.2, label=title)  # fmt: skip


def _size_panel(axes: Axes, outcome: Outcome, rows: Mapping[str, Bins], unit: str) -> None:
    for loss, others in rows.items():
        if loss != outcome.loss:
            axes.plot([one.value for *_, one in others], color=LINE, linewidth=1)
    mine = rows[outcome.loss]
    _size_curve(axes, mine, 0, _ALONE, "")
    axes.set_xticks(range(len(mine)), [f"{_size(low)}" for low, *_ in mine])
    axes.set_xlabel(f"lesions from ({unit})", fontsize=8)
    axes.set_ylim(-0.03, 1.03)


def training_curves(comparison: Comparison) -> str:
    """nnU-Net's running validation Dice by epoch, one line per training; faint lines are not smoothed."""
    words = "Running validation Dice by epoch."
    if len(comparison.outcomes) > _TOGETHER:
        return panels(
            comparison.outcomes, "learned", words, lambda axes, one: _learned(axes, one, comparison)
        )
    figure, axes = new_figure(WIDTH, 2.9)
    for outcome in comparison.outcomes:
        mark = marks(comparison)[outcome.loss]
        for index, run in enumerate(outcome.runs):
            _curve(axes, run, mark.colour, label=outcome.title if not index else None)
    axes.set_xlabel("epoch")
    axes.set_ylabel("running validation Dice")
    add_legend(figure, axes)
    return svg(figure, "learned", words)


def _learned(axes: Axes, outcome: Outcome, comparison: Comparison) -> None:
    for other in comparison.outcomes:
        for run in other.runs if other is not outcome else ():
            axes.plot(*_epochs(smoothed(run.result.curves.running_dice)), color=LINE, linewidth=0.8)
    for run in outcome.runs:
        _curve(axes, run, _ALONE.colour)
    axes.set_xlabel("epoch", fontsize=8)


def _curve(axes: Axes, run: Run, colour: str, label: str | None = None) -> None:
    dice = run.result.curves.running_dice
    axes.plot(*_epochs(dice), color=colour, alpha=0.15, linewidth=0.8)
    axes.plot(*_epochs(smoothed(dice)), marker="o" if len(dice) == 1 else "", color=colour, linewidth=1.4,
              label=label)  # fmt: skip


def _epochs(values: Any) -> tuple[Any, Any]:
    return np.arange(1, len(values) + 1), values


def loss_curves(comparison: Comparison) -> str:
    """Training loss by epoch, a small picture for each loss: their values cannot be compared."""

    def draw(axes: Axes, outcome: Outcome) -> None:
        for run in outcome.runs:
            values = run.result.curves.training_loss
            axes.plot(*_epochs(values), marker="o" if len(values) == 1 else "", color=SOFT, linewidth=1.1)
        axes.set_xlabel("epoch", fontsize=8)

    return panels(comparison.outcomes, "loss", "Training loss by epoch of", draw)


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
