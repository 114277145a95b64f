"""Figures of a calibration as SVG: small enough to be drawn without a library."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.safety.calibration import Calibration
    from nnunet_losses.serve.safety.presence_section import LabelPresence

    Floats = NDArray[np.float64]

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 260, 52, 44, 30
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"  # told apart by everybody: Okabe and Ito
LARGEST_LEVEL = 0.2
BAND = (0.05, 0.95)  # quantiles over calibrations
GRID = 201


class Axes:
    """One diagram: x and y from 0 to their largest value.

    Attributes:
        parts: elements so far.
    """

    def __init__(
        self, title: str, names: tuple[str, str], largest: tuple[float, float], offset: float
    ) -> None:
        self._largest, self._offset = largest, offset
        x, y = self.place(0, 0)
        right, top = self.place(*largest)
        vertical = f"translate({x - 38:.1f} {(y + top) / 2:.1f}) rotate(-90)"
        self.parts = [
            f'<path d="M{x:.1f} {top:.1f}V{y:.1f}H{right:.1f}" fill="none" stroke="{GREY}"/>',
            _text(title, (x + right) / 2, TOP - 12, "middle"),
            _text(names[0], (x + right) / 2, HEIGHT - 8, "middle"),
            f'<g transform="{vertical}">{_text(names[1], 0, 0, "middle")}</g>',
        ]
        for share in (0.0, 0.5, 1.0):
            along, up = share * largest[0], share * largest[1]
            self.parts.append(_text(f"{along:.3g}", self.place(along, 0)[0], y + 15, "middle"))
            self.parts.append(_text(f"{up:.3g}", x - 5, self.place(0, up)[1] + 4, "end"))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies on the page."""
        across = (WIDTH - LEFT - 16) * x / self._largest[0]
        up = (HEIGHT - TOP - BOTTOM) * y / self._largest[1]
        return self._offset + LEFT + across, HEIGHT - BOTTOM - up

    def line(self, x: Floats, y: Floats, colour: str, *, dashed: bool = False) -> None:
        """Draw a line."""
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(
            f'<path d="M{self._path(x, y)}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
        )

    def band(self, x: Floats, low: Floats, high: Floats, colour: str) -> None:
        """Fill between two lines."""
        there, back = self._path(x, high), self._path(x[::-1], low[::-1])
        self.parts.append(f'<path d="M{there}L{back}Z" fill="{colour}" opacity="0.2"/>')

    def note(self, words: str, row: int, colour: str) -> None:
        """Name a colour."""
        x, y = self.place(0, self._largest[1])
        self.parts.append(_text(words, x + 8, y + 12 + 14 * row, "start", colour))

    def _path(self, x: Floats, y: Floats) -> str:
        points = (self.place(float(a), min(float(b), self._largest[1])) for a, b in zip(x, y, strict=True))
        return "L".join(f"{a:.1f} {b:.1f}" for a, b in points)


def level_figure(calibration: Calibration) -> str:
    """Draw how many usual images a level really flags, given so few calibration cases.

    On average over calibrations the share of false alarms stays below the level. That of one calibration is
    Beta distributed; the band holds 90 % of all.
    """
    section = calibration.distribution
    if section is None or section.n == 0:
        return _page([], 1)
    levels = np.linspace(0, LARGEST_LEVEL, GRID)
    ranks = np.floor(levels * (section.n + 1) + 1e-9)
    mean = ranks / (section.n + 1)
    low, high = (_quantile(share, ranks, section.n) for share in BAND)
    names = ("level", "usual images that are flagged")
    axes = Axes(f"{section.n} calibration cases", names, (LARGEST_LEVEL, LARGEST_LEVEL * 1.5), 0)
    axes.band(levels, low, high, BLUE)
    axes.line(levels, mean, BLUE)
    axes.line(levels, levels, GREY, dashed=True)
    axes.note("mean, and 90 % of calibrations", 0, BLUE)
    axes.note("the level itself", 1, GREY)
    return _page([axes], 1)


def presence_figure(calibration: Calibration) -> str:
    """Draw, for each label, the rates of false alarms and of misses over the threshold."""
    labels = () if calibration.presence is None else calibration.presence.labels
    return _page(
        [_presence_axes(label, index * WIDTH) for index, label in enumerate(labels)], max(1, len(labels))
    )


def _presence_axes(label: LabelPresence, offset: float) -> Axes:
    free, bearing = (np.array(scores) for scores in (label.lesion_free, label.lesion_bearing))
    both = np.concatenate([free, bearing])
    largest = float(both[np.isfinite(both)].max(initial=1.0))
    thresholds = np.linspace(0, largest, GRID)
    axes = Axes(label.label, ("threshold of the score", "share of cases"), (largest, 1.0), offset)
    if free.size:
        axes.line(thresholds, (free[:, None] > thresholds).mean(axis=0), ORANGE)
    if bearing.size:
        axes.line(thresholds, (bearing[:, None] < thresholds).mean(axis=0), BLUE)
    axes.note(f"without it, above ({free.size})", 0, ORANGE)
    axes.note(f"with it, below ({bearing.size})", 1, BLUE)
    for value in (label.lower, label.upper):
        if value is not None and 0 <= value <= largest:
            axes.line(np.array([value, value]), np.array([0.0, 1.0]), GREY, dashed=True)
    return axes


def _quantile(share: float, ranks: Floats, n: int) -> Floats:
    """Quantile of the realised rate of the threshold at a rank: Beta(k, n + 1 - k); 0 at rank 0."""
    inside = np.clip(ranks, 1, n)
    return np.where(ranks > 0, stats.beta.ppf(share, inside, n + 1 - inside), 0.0)


def _text(words: str, x: float, y: float, anchor: str, colour: str = "#333333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _page(diagrams: Sequence[Axes], count: int) -> str:
    content = "\n".join(part for axes in diagrams for part in axes.parts)
    size = f'width="{WIDTH * count}" height="{HEIGHT}" font-family="sans-serif" font-size="11"'
    paper = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{paper}\n{content}\n</svg>\n'
