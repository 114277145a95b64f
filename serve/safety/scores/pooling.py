"""Features of a whole case from those of its tiles: plain, and weighted by what was found in each tile.

Anchoring at what was found follows RF-Deep, https://arxiv.org/abs/2512.08216: a strange lesion in a usual
body drowns in the mean over all tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    return {
        name: np.average(np.asarray(values, np.float64), axis=0, weights=weights)
        for name, values in features.items()
    }


def foreground_weights(
    mask: NDArray[Any], preprocessed: Preprocessed, tiles: Tiles, forward: Sequence[int]
) -> Floats:
    """Share of each tile in which something was found.

    Args:
        mask: integers (z, y, x) on the image's grid.
        preprocessed: the network's input.
        tiles: of that input.
        forward: the image's axes in the network's order.

    Returns:
        (tiles,), from 0 to 1.
    """
    inside = np.ascontiguousarray((mask.transpose(forward)[preprocessed.box]) > 0)
    padding = np.array([side.start for side in tiles.back[1:]])
    scale = np.array(inside.shape) / preprocessed.data.shape[1:]
    return np.array([inside[_part(slices, padding, scale, inside.shape)].mean() for slices in tiles.slices])


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
