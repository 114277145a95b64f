"""Shapes and fields of which phantoms are made: smooth random fields, star-shaped bodies. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_WAVES = 6  # plane waves on the unit sphere that make a surface uneven


def positions(shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[Floats, ...]:
    """Millimetres from the middle of the grid, one broadcastable array per axis.

    Example:
        >>> [axis.ravel().tolist() for axis in positions((3, 2), (2.0, 1.0))]
        [[-2.0, 0.0, 2.0], [-0.5, 0.5]]
    """
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    return tuple(np.ix_(*(axis.astype(np.float32) for axis in axes)))


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], knots: tuple[int, ...]) -> Floats:
    """Draw a smooth random field of roughly zero mean and unit deviation.

    A coarse grid of normal numbers is blended by quadratic B-splines, axis by axis.

    Args:
        rng: source of the coarse grid.
        shape: shape of the field.
        knots: cells of the coarse grid along each axis; more knots, finer structure.
    """
    field = rng.standard_normal([count + 2 for count in knots], dtype=np.float32)
    for axis, size in enumerate(shape):
        field = _blend(field, axis=axis, size=size)
    return field


def _blend(field: Floats, *, axis: int, size: int) -> Floats:
    """Stretch one axis of a coarse grid to the given size; the variance stays what it is."""
    place = (np.arange(size) + 0.5) / size * (field.shape[axis] - 2)
    cell = place.astype(int)
    t = place - cell
    weights = np.stack([(1 - t) ** 2 / 2, 0.5 + t * (1 - t), t**2 / 2])
    weights /= np.linalg.norm(weights, axis=0)
    column = [-1 if i == axis else 1 for i in range(field.ndim)]
    return _sum(
        np.take(field, cell + offset, axis) * weight.astype(np.float32).reshape(column)
        for offset, weight in enumerate(weights)
    )


@dataclass(frozen=True, eq=False)
class Star:
    """A body whose surface is a single-valued function of direction: always one piece, without holes.

    Attributes:
        centre: millimetres from the middle of the grid.
        radius: mean radius in millimetres.
        axes: (d, d) matrix that maps millimetres to the ball; its singular values are the elongation.
        waves: (waves, d) frequencies of the unevenness.
        phases: (waves,) its phases.
        unevenness: amplitude, as a share of the radius.
    """

    centre: NDArray[np.float64]
    radius: float
    axes: NDArray[np.float64]
    waves: NDArray[np.float64]
    phases: NDArray[np.float64]
    unevenness: float

    @property
    def reach(self) -> float:
        """Distance from the centre, in millimetres, beyond which there is surely nothing of the body."""
        stretch = 1 / float(np.linalg.svd(self.axes, compute_uv=False).min())
        return self.radius * stretch * (1 + self.unevenness)

    def at(self, centre: NDArray[np.float64]) -> Star:
        """Return the same body at another place."""
        return replace(self, centre=centre)

    def scaled(self, factor: float) -> Star:
        """Return the same body in another size."""
        return replace(self, radius=self.radius * factor)

    def level(self, where: tuple[Floats, ...]) -> Floats:
        """Relative distance from the centre at the given positions: below 1 inside, 1 on the surface."""
        offsets: list[Floats] = [
            np.asarray(axis - c, dtype=np.float32) for axis, c in zip(where, self.centre, strict=True)
        ]
        local = [_combine(offsets, row / self.radius) for row in self.axes]
        length: Floats = np.sqrt(_sum(axis * axis for axis in local))
        divisor: Floats = np.maximum(length, np.float32(1e-6))
        unit = [axis / divisor for axis in local]
        bumps = _sum(
            np.cos(_combine(unit, wave) + np.float32(phase))
            for wave, phase in zip(self.waves, self.phases, strict=True)
        )
        level: Floats = length / (1 + np.float32(self.unevenness / _WAVES) * bumps)
        return level


def _combine(axes: list[Floats], weights: NDArray[np.float64]) -> Floats:
    """Weighted sum of broadcastable arrays."""
    return _sum(np.float32(weight) * axis for weight, axis in zip(weights, axes, strict=True))


def _sum(arrays: Iterable[Floats]) -> Floats:
    """Sum of broadcastable arrays, in their order: the same bits on every machine."""
    return reduce(np.add, arrays)


def draw_star(
    rng: np.random.Generator,
    centre: NDArray[np.float64],
    radius: float,
    *,
    elongation: float,
    unevenness: float,
) -> Star:
    """Draw a body of random orientation, axis lengths and surface.

    Args:
        rng: source of randomness.
        centre: (d,) millimetres from the middle of the grid.
        radius: mean radius in millimetres.
        elongation: axes are scaled by factors between 1 / (1 + elongation) and 1 + elongation.
        unevenness: largest deviation of the surface, as a share of the radius, 0 to 1 (exclusive).
    """
    dimension = len(centre)
    rotation, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    scale = np.exp(rng.uniform(-1, 1, dimension) * np.log1p(elongation))
    return Star(
        centre=centre,
        radius=radius,
        axes=np.diag(1 / scale) @ rotation,
        waves=rng.normal(0, 2.5, (_WAVES, dimension)),
        phases=rng.uniform(0, 2 * np.pi, _WAVES),
        unevenness=unevenness,
    )
