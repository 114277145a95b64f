"""Features of a whole case from those of its tiles: plain, and weighted by what was found in each tile.

Anchoring at what was found follows RF-Deep, https://arxiv.org/abs/2512.08216: a strange lesion in a usual
body drowns in the mean over all tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.pipeline.preprocess import Preprocessed
    from nnunet_losses.serve.pipeline.stitch import Tiles

    Floats = NDArray[np.float64]


def pooled(features: Mapping[str, NDArray[Any]], weights: Floats | None = None) -> dict[str, Floats] | None:
    """Mean of the tiles' features.

    Args:
        features: by output name, (tiles, channels).
        weights: (tiles,), not negative; None weighs all tiles alike.

    Returns:
        By output name, (channels,). None where there are no features, or no weight is above zero.

    Raises:
        ValueError: for another number of weights than of tiles.

    Example:
        >>> tiles = {"stage0": np.array([[1.0], [5.0]])}
        >>> pooled(tiles)["stage0"].tolist(), pooled(tiles, np.array([3.0, 1.0]))["stage0"].tolist()
        ([3.0], [2.0])
    """
    if not features or (weights is not None and not (weights > 0).any()):
        return None
    for name, values in features.items():
        if weights is not None and len(values) != len(weights):
            raise ValueError(
                f"{name} has {len(values)} tiles, but there are {len(weights)} weights; give one each"
            )
    together = np.concatenate([np.asarray(values, np.float64) for values in features.values()], axis=1)
    means = np.average(together, axis=0, weights=weights)
    ends = np.cumsum([values.shape[1] for values in features.values()])
    return dict(zip(features, np.split(means, ends[:-1]), strict=True))


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of a network's input lie in the image.

    Attributes:
        slices: of each tile in the padded input.
        padding: voxels before the input along each axis.
        shape: of the input, without padding.
        box: the part of the image that the input covers, in the network's axis order.
        forward: the image's axes in the network's order.
    """

    slices: Sequence[Sequence[slice | int]]
    padding: tuple[int, ...]
    shape: tuple[int, ...]
    box: tuple[slice, slice, slice]
    forward: tuple[int, int, int]

    @classmethod
    def of(cls, preprocessed: Preprocessed, tiles: Tiles, forward: tuple[int, int, int]) -> Self:
        """Take what is needed from an input and its tiles."""
        padding = tuple(int(side.start) for side in tiles.back[1:])
        return cls(tiles.slices, padding, preprocessed.data.shape[1:], preprocessed.box, forward)

    @property
    def cropped_shape(self) -> tuple[int, ...]:
        """Shape of the box, in the image's voxels and the network's axis order."""
        return tuple(side.stop - side.start for side in self.box)

    def parts(self) -> list[tuple[slice, ...]]:
        """Where each tile lies on the cropped grid; at least one voxel."""
        scale = np.array(self.cropped_shape) / self.shape
        padding = np.array(self.padding)
        return [_part(slices, padding, scale, self.cropped_shape) for slices in self.slices]

    def voxels(self, tile: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """First and behind last voxel of a tile along each axis (z, y, x) of the image."""
        part = self.parts()[tile]
        sides = [
            (box.start + own.start, box.start + own.stop) for box, own in zip(self.box, part, strict=True)
        ]
        z, y, x = (sides[self.forward.index(axis)] for axis in range(3))
        return z, y, x


def foreground_weights(mask: NDArray[Any], grid: TileGrid) -> Floats:
    """Share of each tile in which something was found.

    Args:
        mask: integers (z, y, x) on the image's grid.
        grid: of the tiles.

    Returns:
        (tiles,), from 0 to 1.
    """
    inside = np.ascontiguousarray((mask.transpose(grid.forward)[grid.box]) > 0)
    return np.array([inside[part].mean() for part in grid.parts()])


def _part(
    slices: Sequence[slice | int], padding: NDArray[Any], scale: Floats, shape: Sequence[int]
) -> tuple[slice, ...]:
    """Where a tile of the padded input lies on the cropped grid; at least one voxel."""
    sides = [side if isinstance(side, slice) else slice(side, side + 1) for side in slices[1:]]
    starts = (np.array([side.start for side in sides]) - padding) * scale
    stops = (np.array([side.stop for side in sides]) - padding) * scale
    first = np.clip(np.floor(starts + 1e-9), 0, np.array(shape) - 1).astype(int)
    last = np.clip(np.ceil(stops - 1e-9), first + 1, shape).astype(int)
    return tuple(slice(int(low), int(high)) for low, high in zip(first, last, strict=True))
