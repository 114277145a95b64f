"""How every chart of the report is drawn: its style, the marks of the losses, and SVG for a page."""

from __future__ import annotations

import io
import math
import re
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from nnunet_losses.compare.outcomes import Comparison, Outcome

WIDTH = (
    5.4  # inches: half of a page, so that letters are as large as those around, and legible on a telephone
)
INK, SOFT, LINE = "#1b1f24", "#5b636d", "#e3e6ea"
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "nnunet-losses",  # equal figures give equal files
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
}
# Okabe and Ito's palette for the colour-blind, without its yellow; then again with other shapes
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b")
_SHAPES = "os^DvPX"
_THEMED = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)"}


class Mark(NamedTuple):
    """Colour and shape of a loss."""

    colour: str
    shape: str


def marks(comparison: Comparison) -> dict[str, Mark]:
    """Colour and shape of each loss, the same in all charts; colours come again, with another shape."""
    return {
        one.loss: Mark(_COLOURS[index % len(_COLOURS)], _SHAPES[index // len(_COLOURS) % len(_SHAPES)])
        for index, one in enumerate(comparison.outcomes)
    }


def new_figure(width: float, height: float, *, columns: int = 1) -> tuple[Figure, Any]:
    """Make a figure (inches) and its axes: one, or an array of several."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns)
    return figure, axes


def add_legend(figure: Figure, axes: Axes) -> None:
    """Put the names of the losses below, in as many columns as their length allows; the figure grows."""
    with mpl.rc_context(_STYLE):
        handles, names = axes.get_legend_handles_labels()
        longest = max(map(len, names), default=1)
        columns = max(1, min(4, 60 // (longest + 5), len(names)))
        figure.set_figheight(figure.get_figheight() + 0.18 * math.ceil(len(names) / columns))
        figure.legend(
            handles,
            names,
            loc="outside lower left",
            ncols=columns,
            frameon=False,
            fontsize=9,
            handlelength=1.6,
        )


def svg(figure: Figure, name: str, words: str) -> str:
    """Write a figure as SVG for a page: without a file's head, with words for those who do not see it.

    Args:
        figure: to write.
        name: of the chart, once in a page: its ids begin with it.
        words: what it shows.
    """
    with mpl.rc_context(_STYLE):
        file = io.StringIO()
        none: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(
            file, format="svg", transparent=True, metadata=none, bbox_inches="tight", pad_inches=0.05
        )
    text = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    said = f'<svg role="img" aria-label="{escape(words)}" '
    return _with_own_ids(text[text.index("<svg") :], name).replace("<svg ", said, 1)


def _with_own_ids(text: str, name: str) -> str:
    """Keep the ids that something refers to, under names that no other chart of the page has."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda one: f' id="{name}-{one[1]}"' if one[1] in used else "", text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)


def themed(chart: str) -> str:
    """Give a chart the colours of the page that it stands in, which may be dark."""
    for colour, variable in _THEMED.items():
        chart = chart.replace(colour, variable)
    return chart


def panels(outcomes: Sequence[Outcome], name: str, words: str, draw: Callable[[Axes, Outcome], None]) -> str:
    """Draw a small picture for each loss, side by side.

    Args:
        outcomes: losses.
        name: of the chart.
        words: what each shows; the loss is added.
        draw: draws one.
    """
    pictures = []
    for index, outcome in enumerate(outcomes):
        figure, axes = new_figure(2.6, 1.9)
        draw(axes, outcome)
        axes.set_title(outcome.title, fontsize=min(9.5, 9.5 * 34 / len(outcome.title)), color=INK)
        axes.tick_params(labelsize=8)
        pictures.append(svg(figure, f"{name}-{index}", f"{words} {outcome.title}."))
    return f'<div class="panels">{"".join(pictures)}</div>'
