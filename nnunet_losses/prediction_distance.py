"""Distance maps of the prediction: other than those of the truth they change with every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .geometry.distance import distance_map

if TYPE_CHECKING:
    from .geometry.distance import Spacing

REACH = 3  # voxels
NOISY = 0.1  # share of neighbours along the last axis that differ; a smooth prediction has less


def mask_distance(masks: Tensor, spacing: Spacing = None) -> Tensor:
    """Distance of each voxel to the other side of its mask, as ``geometry.distance_map`` gives it.

    An untrained network predicts noise, where the usual algorithm is slow but all distances are small. Then
    looking at near voxels is enough.

    Args:
        masks: (B, F, *S) bool.
        spacing: distance between voxel centres along each axis; None: 1.

    Returns:
        Distances (B, F, *S), float32, on the device of the masks.

    Example:
        >>> mask_distance(torch.tensor([[[[False, False, True, True]]]]))
        tensor([[[[2., 1., 1., 2.]]]])
    """
    maps = [_one_mask_distance(mask, spacing) for mask in masks.cpu().flatten(0, 1)]
    return torch.stack(maps).view(masks.shape).to(masks.device)


def near_distance(mask: Tensor, spacing: tuple[float, ...], reach: int) -> Tensor | None:
    """Distance to the other side of a mask (*S), looking no further than ``reach`` voxels along each axis.

    Returns:
        Distances, or None if for some voxel there may be a nearer one out of reach.
    """
    infinite = torch.tensor(torch.inf)
    sides = torch.stack([torch.where(mask, infinite, 0.0), torch.where(mask, 0.0, infinite)])
    for axis, step in enumerate(spacing, start=1):
        sides = _nearest_along(sides, axis, step, reach)
    squares = sides[0] + sides[1]  # a voxel is at distance 0 from its own side
    limit = (reach + 1) * min(spacing)
    return squares.sqrt_() if float(squares.max()) <= limit * limit else None


def _one_mask_distance(mask: Tensor, spacing: Spacing) -> Tensor:
    if float((mask[..., 1:] != mask[..., :-1]).float().mean()) > NOISY:
        near = near_distance(mask, spacing or (1.0,) * mask.ndim, REACH)
        if near is not None:
            return near
    return torch.from_numpy(distance_map(mask.numpy(), spacing, threads=torch.get_num_threads()))


def _nearest_along(squares: Tensor, axis: int, step: float, reach: int) -> Tensor:
    nearest = squares.clone()
    size = squares.shape[axis]
    for offset in range(1, min(reach, size - 1) + 1):
        moved = squares + (offset * step) ** 2
        for here, there in ((0, offset), (offset, 0)):
            part = nearest.narrow(axis, here, size - offset)
            torch.minimum(part, moved.narrow(axis, there, size - offset), out=part)
    return nearest
