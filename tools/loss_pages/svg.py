"""The style of the pictures, and small SVG files that come out the same every time."""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from matplotlib.figure import Figure

INK, SOFT, GRID, PAPER = "#24292f", "#6b7280", "#e5e7eb", "#ffffff"
# Okabe and Ito's colours, told apart by eyes that see few colours; markers and dashes say the same again
LESION, ALARM, REST = "#d55e00", "#0072b2", "#999999"
PALETTE = (
    ("#000000", "o", "-"),
    ("#0072b2", "s", "-"),
    ("#56b4e9", "^", "--"),
    ("#009e73", "D", "-"),
    ("#d55e00", "v", "-"),
    ("#cc79a7", "P", "--"),
    ("#e69f00", "X", "-"),
    ("#999999", "<", ":"),
)
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nnunet-losses",
    "path.simplify": True,
    "font.size": 9,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.labelcolor": SOFT,
    "axes.titlesize": 9,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.2,
    "figure.facecolor": PAPER,
}


def house_style() -> AbstractContextManager[None]:
    """Return a context in which figures look like the others."""
    return mpl.rc_context(_STYLE)


def digest(data: object) -> str:
    """Return a short hash of what a picture shows; it stands in the picture."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def write_svg(figure: Figure, data: str) -> str:
    """Return a figure as a small SVG that names the digest of its data and no date."""
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": "nnunet-losses", "Identifier": data}
    )
    return _slim(buffer.getvalue())


def _slim(svg: str) -> str:
    """Leave out what changes nothing on the screen: digits, idle transforms, groups' names, line breaks."""
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = svg.replace("*{stroke-linejoin", "text{font-family: system-ui, sans-serif} *{stroke-linejoin")
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r' id="(?:figure|patch|axes|line2d|text|xtick|ytick|legend|matplotlib)[^"]*"', "", svg)
    svg = re.sub(r'(?<= d=")[^"]*|(?<= [xy]=")[^"]*', _short_numbers, svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _short_numbers(match: re.Match[str]) -> str:
    rounded = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), match[0])
    return re.sub(r"\s+", " ", rounded).strip()
