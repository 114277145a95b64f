"""Sums and maxima over segments of a map, all segments in one reduction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _SegmentSums(torch.autograd.Function):
    """Sums of each slice, so that several threads can add, then of the slices; all in double precision.

    In single precision a background of equal probabilities would be off in the fifth digit.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        batch, maps, slices = values.shape[:3]
        rows = values.to(_widest(values)).reshape(batch * maps * slices, -1)
        sums = rows.new_zeros(len(rows), segments.count).scatter_add_(1, segments.rows, rows)
        return sums.view(batch, maps, slices, -1).sum(2).to(values.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.segments.spread(gradients[0]), None


def _widest(values: Tensor) -> torch.dtype:
    """Double precision, which Apple's GPUs have not."""
    return values.dtype if values.device.type == "mps" else torch.float64


class _SegmentMaxima(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Segments) -> Tensor:
        maps = values.shape[:2]
        inside = segments.rows.view(*maps, -1)
        maxima = values.new_zeros(*maps, segments.count)
        maxima.scatter_reduce_(2, inside, values.flatten(2), "amax")
        highest = values == segments.spread(maxima)
        shares = torch.zeros_like(maxima).scatter_add_(2, inside, highest.flatten(2).to(values.dtype))
        ctx.segments = segments
        ctx.save_for_backward(highest, shares)
        return maxima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        highest, shares = ctx.saved_tensors
        return ctx.segments.spread(gradients[0] / shares.clamp_min(1)) * highest, None


@dataclass(frozen=True)
class Segments:
    """A partition of each map (b, f) of a batch.

    Args:
        ids: segment of each voxel, (B, F, *S) int32, from 0 to ``count`` - 1.
        count: number of segments of a map.

    Example:
        >>> segments = Segments(torch.tensor([[[[0, 2, 0]]]]), count=3)
        >>> values = torch.tensor([[[[1.0, 2.0, 4.0]]]])
        >>> segments.sums(values), segments.maxima(values)
        (tensor([[[5., 0., 2.]]]), tensor([[[4., 0., 2.]]]))
    """

    ids: Tensor
    count: int

    @cached_property
    def rows(self) -> Tensor:
        """Segments as torch's scatter takes them, one row per map and slice along the first spatial axis."""
        return self.ids.flatten(0, 2).flatten(1).long()

    @cached_property
    def of_batch(self) -> Tensor:
        """Segments as numbers that are unique in the batch, flat."""
        batch, maps = self.ids.shape[:2]
        first = torch.arange(batch * maps, dtype=self.ids.dtype, device=self.ids.device) * self.count
        return (self.ids + first.view(batch, maps, *[1] * (self.ids.ndim - 2))).flatten()

    def sums(self, values: Tensor) -> Tensor:
        """Add up values (B, F or 1, *S) to (B, F, count), differentiable by the values."""
        return self._reduce(_SegmentSums, values)

    def maxima(self, values: Tensor) -> Tensor:
        """Largest of values (B, F or 1, *S) >= 0, (B, F, count); 0 for a segment without voxels.

        Where several voxels have that value, they share the gradient.
        """
        return self._reduce(_SegmentMaxima, values)

    def spread(self, numbers: Tensor) -> Tensor:
        """Give every voxel the number (B, F, count) of its segment: (B, F, *S)."""
        return numbers.flatten().index_select(0, self.of_batch).view(self.ids.shape)

    def _reduce(self, function: type[torch.autograd.Function], values: Tensor) -> Tensor:
        result: Tensor = function.apply(  # type: ignore[no-untyped-call]  # torch has no types
            values.expand(self.ids.shape), self
        )
        return result
