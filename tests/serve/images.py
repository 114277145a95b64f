"""Images as the readers return them, for tests that need no file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.image import Geometry, Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


def volume(data: ArrayLike, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Image:
    """A volume: data (channels, z, y, x) or (z, y, x), spacing (z, y, x)."""
    array = np.asarray(data, np.float32)
    z, y, x = (float(value) for value in spacing)
    geometry = Geometry(3, (x, y, z), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    return Image(array.reshape(-1, *array.shape[-3:]), (z, y, x), geometry, "0" * 64)


def picture(data: ArrayLike, spacing: float = 1.0) -> Image:
    """A picture: data (channels, y, x) or (y, x)."""
    array = np.asarray(data, np.float32)
    geometry = Geometry(2, (spacing, spacing), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    pixels = array.reshape(-1, 1, *array.shape[-2:])
    return Image(pixels, (999.0 * spacing, spacing, spacing), geometry, "0" * 64)


def noise(*shape: int, low: float = 0.0, high: float = 100.0) -> np.ndarray:
    """Values between two numbers."""
    return np.random.default_rng(0).uniform(low, high, shape)
