"""Outlines of a binary slice along the edges of its pixels.

The polygons run between the pixels, not through their centres: their areas are those of the pixels, and
whoever fills them gets the same pixels back. A hole is joined to its outline by a channel of no width, as
DICOM wants it (PS3.3, C.8.8.6.3): a single closed curve has the hole then, also for readers that fill each
curve by itself.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cc3d
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Point = tuple[int, int]

EDGE_NEIGHBOURS = 4


@dataclass(frozen=True)
class _Loop:
    """A closed curve of unit steps (x, y) with the inside on its right, and the part that it bounds."""

    points: list[Point]
    part: int

    @property
    def is_hole(self) -> bool:
        return _doubled_area(self.points) < 0


def outlines(inside: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed polygons around the parts of a slice, holes left out.

    Args:
        inside: (y, x).

    Returns:
        For each part whose pixels touch at their edges, corners (n, 2) as x, y in pixels; pixel centres lie
        at whole numbers. The last corner is joined to the first.

    Example:
        >>> outlines(np.array([[True, True]]))[0].tolist()
        [[-0.5, -0.5], [1.5, -0.5], [1.5, 0.5], [-0.5, 0.5]]
    """
    parts: dict[int, list[_Loop]] = {}
    for loop in _loops(inside):
        parts.setdefault(loop.part, []).append(loop)
    return [np.array(_corners(_joined(loops)), float) - 0.5 for _, loops in sorted(parts.items())]


def _loops(inside: NDArray[np.bool_]) -> list[_Loop]:
    labelled = _parts(inside)
    steps = _steps(labelled)
    found = []
    for start in list(steps):
        while start in steps:
            found.append(_follow(start, steps))
    return found


def _parts(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number the parts whose pixels touch at their edges; a border of zeros around."""
    padded = np.pad(inside, 1).astype(np.uint8)
    numbered = cc3d.connected_components(padded, connectivity=EDGE_NEIGHBOURS)
    return np.asarray(numbered, np.int64)


def _steps(labelled: NDArray[np.int64]) -> dict[Point, list[tuple[Point, int]]]:
    """Unit steps around all pixels, by where they begin: corners (x, y), from 0 at the first pixel's."""
    steps: dict[Point, list[tuple[Point, int]]] = {}

    def add(begin: NDArray[np.intp], shift: tuple[Point, Point], parts: NDArray[np.int64]) -> None:
        (x0, y0), (x1, y1) = shift
        for (y, x), part in zip(begin.tolist(), parts.tolist(), strict=True):
            steps.setdefault((x + x0, y + y0), []).append(((x + x1, y + y1), part))

    core = labelled[1:-1, 1:-1]
    for neighbour, shift in (
        (labelled[:-2, 1:-1], ((0, 0), (1, 0))),  # above: to the right
        (labelled[1:-1, 2:], ((1, 0), (1, 1))),  # right: down
        (labelled[2:, 1:-1], ((1, 1), (0, 1))),  # below: to the left
        (labelled[1:-1, :-2], ((0, 1), (0, 0))),  # left: up
    ):
        border = (core > 0) & (neighbour == 0)
        add(np.argwhere(border), shift, core[border])
    return steps


def _follow(start: Point, steps: dict[Point, list[tuple[Point, int]]]) -> _Loop:
    """Take the steps of one loop out of the table."""
    (end, part) = steps[start].pop()
    points, direction, here = [start], (end[0] - start[0], end[1] - start[1]), end
    if not steps[start]:
        del steps[start]
    while here != start or _goes_on(here, direction, steps, part):
        points.append(here)
        following = _turn(here, direction, steps, part)
        direction, here = (following[0] - here[0], following[1] - here[1]), following
    return _Loop(points, part)


def _goes_on(here: Point, direction: Point, steps: dict[Point, list[tuple[Point, int]]], part: int) -> bool:
    """Back at the start: a loop goes on only where it touches itself, and turns right there."""
    right = (-direction[1], direction[0])
    return any(
        (end[0] - here[0], end[1] - here[1]) == right and other == part for end, other in steps.get(here, [])
    )


def _turn(here: Point, direction: Point, steps: dict[Point, list[tuple[Point, int]]], part: int) -> Point:
    """Take the next step: to the right, where there are two, around the same pixel."""
    right = (-direction[1], direction[0])
    ends = steps[here]
    chosen = next(
        (
            entry
            for entry in ends
            if (entry[0][0] - here[0], entry[0][1] - here[1]) == right and entry[1] == part
        ),
        ends[0],
    )
    ends.remove(chosen)
    if not ends:
        del steps[here]
    return chosen[0]


def _doubled_area(points: list[Point]) -> int:
    table = np.array(points)
    following = np.roll(table, -1, axis=0)
    return int((table[:, 0] * following[:, 1] - table[:, 1] * following[:, 0]).sum())


def _joined(loops: list[_Loop]) -> list[Point]:
    """One curve of an outline and its holes: each hole is reached from its leftmost point, to the left."""
    curve = _Curve(next(loop.points for loop in loops if not loop.is_hole))
    for hole in sorted((loop.points for loop in loops if loop.is_hole), key=min):
        curve.take_in(hole)
    return curve.points()


class _Curve:
    """A closed curve that takes in others; it knows its points by row, and searches for none."""

    def __init__(self, points: list[Point]) -> None:
        self._points: list[Point] = []
        self._following: list[int] = []  # positions in ``_points``, as the curve runs
        self._rows: dict[int, list[Point]] = {}  # x and position of the points of each y, sorted
        for point in points:
            self._add(point, len(self._points) + 1)
        self._following[-1] = 0

    def _add(self, point: Point, following: int) -> int:
        x, y = point
        position = len(self._points)
        self._points.append(point)
        self._following.append(following)
        insort(self._rows.setdefault(y, []), (x, position))
        return position

    def take_in(self, hole: list[Point]) -> None:
        """Go to the hole's leftmost point from the next own one to the left of it, around it, and back."""
        begin = hole.index(min(hole))
        x, y = hole[begin]
        row = self._rows[y]
        column, last = row[bisect_left(row, (x + 1, 0)) - 1]
        onward = self._following[last]
        for point in (*hole[begin:], *hole[:begin], hole[begin], (column, y)):
            self._following[last] = len(self._points)
            last = self._add(point, onward)

    def points(self) -> list[Point]:
        """All, as the curve runs."""
        found, here = [self._points[0]], self._following[0]
        while here:
            found.append(self._points[here])
            here = self._following[here]
        return found


def _corners(points: list[Point]) -> list[Point]:
    """Leave out points in the middle of straight lines; where a line turns back, its end stays."""
    kept = []
    for before, here, after in zip([points[-1], *points[:-1]], points, [*points[1:], points[0]], strict=True):
        into = (here[0] - before[0], here[1] - before[1])
        out = (after[0] - here[0], after[1] - here[1])
        straight = into[0] * out[1] == into[1] * out[0] and into[0] * out[0] + into[1] * out[1] > 0
        if not straight and here != after:
            kept.append(here)
    return kept
