"""What the strangeness scores look at: a few kilobytes of numbers about each case.

Everything is a pure function of what the served pipeline has at hand anyway. Voxels are sampled on a regular
grid, so that the same image always gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Geometry, Image
    from nnunet_losses.serve.pipeline.preprocess import Preprocessed

    from .found import Found

    Floats = NDArray[np.float64]

SAMPLED_VOXELS = 2**18  # of a channel: quantiles are then known to a tenth of a percent
SIXTEEN_BITS = 2**16
LEVELS = 4096  # order statistics that stand for a channel's histogram
TOWARDS = ("LPS", "RAI")  # letters of the world's axes, and of their opposites


@dataclass(frozen=True)
class Grid:
    """How the voxels lie.

    Attributes:
        spacing: millimetres (z, y, x).
        extent: millimetres (z, y, x).
        orientation: towards what the file's axes (x first) run; ``LPS`` is ITK's identity.
        obliqueness: largest angle, in degrees, between an axis and the world's axis that it follows.
        determinant: of the direction matrix; negative where the axes are a left hand's.
    """

    spacing: tuple[float, float, float]
    extent: tuple[float, float, float]
    orientation: str
    obliqueness: float
    determinant: float


@dataclass(frozen=True, eq=False)
class Observation:
    """What is known of one case. What is None has not been looked at, or does not exist.

    Attributes:
        grid: how the voxels lie.
        raw: (channels, ``LEVELS``) order statistics of the intensities in the file, ascending.
        nonzero: (channels,) share of voxels that are not zero.
        correlations: (channels, channels) of the intensities; NaN where a channel is constant.
        preprocessed: as ``raw``, of what the network gets.
        features: pooled encoder features by output name, mean over all tiles, each (channels,).
        foreground_features: the same, tiles weighted by what was found in them; None where nothing was.
        found: what the mask holds.
        texture: (channels, statistics) of what the network gets, see ``texture.observe_texture``.
        doubts: how far passes and folds disagree, and how open the answer is, by measure, see
            ``pipeline.agreement``; a measure that there is not is left out.
    """

    grid: Grid
    raw: Floats
    nonzero: Floats
    correlations: Floats
    preprocessed: Floats | None = None
    features: dict[str, Floats] | None = None
    foreground_features: dict[str, Floats] | None = None
    found: Found | None = None
    texture: Floats | None = None
    doubts: dict[str, float] | None = None


def observe_image(image: Image) -> Observation:
    """Look at an image before any network time is spent; the rest can be added by ``dataclasses.replace``.

    Args:
        image: with finite values, as the contract demands.

    Raises:
        ValueError: for voxels that are not finite, as far as the sample sees them.

    Example:
        >>> from nnunet_losses.serve.image import Geometry, Image
        >>> geometry = Geometry(3, (1.0, 1.0, 3.0), (0.0,) * 3, tuple(np.eye(3).ravel()))
        >>> image = Image(np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2), (3.0, 1.0, 1.0), geometry, "")
        >>> seen = observe_image(image)
        >>> seen.grid.orientation, seen.grid.extent, seen.nonzero.tolist()
        ('LPS', (6.0, 2.0, 2.0), [0.875])
    """
    voxels = sample(image.data)
    return Observation(
        grid=observe_grid(image),
        raw=order_statistics(voxels),
        nonzero=np.count_nonzero(voxels, axis=1) / voxels.shape[1],
        correlations=correlations(voxels[:, (voxels != 0).any(axis=0)]),
    )


def observe_preprocessed(preprocessed: Preprocessed, channels: int) -> Floats:
    """Order statistics of what the network gets of the image's channels, without a cascade's labels."""
    return order_statistics(sample(preprocessed.data[:channels]))


def observe_grid(image: Image) -> Grid:
    """Spacing, extent and orientation."""
    extent = tuple(size * step for size, step in zip(image.shape, image.spacing, strict=True))
    orientation, obliqueness, determinant = _orientation(image.geometry)
    z, y, x = extent
    return Grid(image.spacing, (z, y, x), orientation, obliqueness, determinant)


def _orientation(geometry: Geometry) -> tuple[str, float, float]:
    """Letters, largest angle in degrees, determinant."""
    dimension = geometry.dimension
    direction = np.array(geometry.direction, np.float64).reshape(dimension, dimension)
    columns = range(dimension)
    # each of the world's axes is followed by one of the file's: as closely as possible, taken together
    rows = max(permutations(columns), key=lambda rows: np.abs(direction[rows, columns]).sum())
    along = direction[rows, columns]
    letters = "".join(TOWARDS[int(cosine < 0)][row] for row, cosine in zip(rows, along, strict=True))
    angle = float(np.degrees(np.arccos(np.clip(np.abs(along), 0, 1))).max())
    return letters, angle, float(np.linalg.det(direction))


def sample(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most about ``SAMPLED_VOXELS`` voxels of each channel, at the same places: (channels, voxels).

    The step shares no divisor with the number of voxels, and so with no axis: no column is preferred.

    Args:
        data: (channels, z, y, x).

    Raises:
        ValueError: for no voxels, or such as are not finite.
    """
    size = data[0].size
    if size == 0:
        raise ValueError(f"the image has no voxels: its shape is {data.shape}; expected at least one")
    step = -(-size // SAMPLED_VOXELS)
    while gcd(step, size) != 1:
        step += 1
    # in the order in which they lie in memory: anything else would copy the whole image
    voxels = np.stack([channel.ravel(order="K")[::step] for channel in data])
    if not np.isfinite(voxels).all():
        raise ValueError("the image has voxels that are not finite; check the contract before the scores")
    return voxels


def order_statistics(voxels: NDArray[np.float32]) -> Floats:
    """Order statistics of each channel at even ranks, the smallest and the largest among them.

    Args:
        voxels: (channels, voxels).

    Returns:
        (channels, ``LEVELS``), ascending.
    """
    ranks = np.rint(np.linspace(0, voxels.shape[1] - 1, LEVELS)).astype(int)
    return np.stack([_ascending(channel)[ranks].astype(np.float64) for channel in voxels])


def _ascending(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sort. Most scanners store 16-bit integers, and these take a tenth of the time (radix sort)."""
    low, high = values.min(), values.max()
    if low > -SIXTEEN_BITS and high < SIXTEEN_BITS and high - low < SIXTEEN_BITS:
        offsets = (values - low).astype(np.uint16)
        if (offsets + low == values).all():  # else they were no integers
            ascending: NDArray[np.float32] = np.sort(offsets, kind="stable") + low
            return ascending
    return np.sort(values)


def correlations(voxels: NDArray[np.float32]) -> Floats:
    """Pearson correlation of every two channels; NaN where one is constant.

    Args:
        voxels: (channels, voxels).

    Example:
        >>> correlations(np.array([[1, 2, 3], [3, 2, 1], [5, 5, 5]], np.float32)).round(6).tolist()
        [[1.0, -1.0, nan], [-1.0, 1.0, nan], [nan, nan, nan]]
    """
    if voxels.shape[1] == 0:
        return np.full((len(voxels), len(voxels)), np.nan)
    if len(voxels) == 1:
        return np.array([[np.nan if voxels.min() == voxels.max() else 1.0]])
    centred = voxels - voxels.mean(axis=1, keepdims=True, dtype=np.float64)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    norms[voxels.min(axis=1) == voxels.max(axis=1)] = np.nan
    unit = centred / norms
    result: Floats = np.clip(unit @ unit.T, -1, 1)
    return result
