"""Sums and maxima over segments of a map, all segments in one reduction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# A GPU adds one by one what goes to the same address, and most voxels go to one segment: hence copies.
COPIES = 512


class _SegmentSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(segments)
        if values.device.type == "cpu":  # adds in double precision: a segment may have millions of voxels
            return torch.bincount(segments.flatten(), values.flatten().double(), count).to(values.dtype)
        copy = torch.arange(segments.numel(), device=values.device) % COPIES
        sums = values.new_zeros(count * COPIES)
        sums.index_add_(0, segments.flatten() * COPIES + copy, values.flatten())
        return sums.view(count, COPIES).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _spread(gradients[0], ctx.saved_tensors[0]), None, None


class _SegmentMaxima(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Tensor, count: int) -> Tensor:
        inside = segments.flatten().long()
        maxima = values.new_zeros(count).scatter_reduce_(0, inside, values.flatten(), "amax")
        highest = values == _spread(maxima, segments)
        shares = torch.zeros_like(maxima).scatter_add_(0, inside, highest.flatten().to(values.dtype))
        ctx.save_for_backward(segments, highest, shares)
        return maxima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        segments, highest, shares = ctx.saved_tensors
        return _spread(gradients[0] / shares.clamp_min(1), segments) * highest, None, None


@dataclass(frozen=True)
class Segments:
    """A partition of each map (b, f) of a batch.

    Args:
        ids: segment of each voxel, (B, F, *S) int32, from 0 to ``count`` - 1.
        count: number of segments of a map.

    Example:
        >>> segments = Segments(torch.tensor([[[0, 2, 0]]]), count=3)
        >>> values = torch.tensor([[[1.0, 2.0, 4.0]]])
        >>> segments.sums(values), segments.maxima(values)
        (tensor([[[5., 0., 2.]]]), tensor([[[4., 0., 2.]]]))
    """

    ids: Tensor
    count: int

    @cached_property
    def of_batch(self) -> Tensor:
        """Ids that are unique in the batch."""
        maps = torch.arange(
            self.ids.shape[0] * self.ids.shape[1], dtype=self.ids.dtype, device=self.ids.device
        )
        return self.ids + (maps * self.count).view(*self.ids.shape[:2], *[1] * (self.ids.ndim - 2))

    def sums(self, values: Tensor) -> Tensor:
        """Add up values (B, F or 1, *S) to (B, F, count), differentiable by the values."""
        return self._reduce(_SegmentSums, values)

    def maxima(self, values: Tensor) -> Tensor:
        """Largest of values (B, F or 1, *S) >= 0, (B, F, count); 0 for a segment without voxels.

        Where several voxels have that value, they share the gradient.
        """
        return self._reduce(_SegmentMaxima, values)

    def _reduce(self, function: type[torch.autograd.Function], values: Tensor) -> Tensor:
        batch, maps = self.ids.shape[:2]
        result: Tensor = function.apply(  # type: ignore[no-untyped-call]  # torch has no types
            values.expand(self.ids.shape), self.of_batch, batch * maps * self.count
        )
        return result.view(batch, maps, self.count)


def _spread(per_segment: Tensor, segments: Tensor) -> Tensor:
    return per_segment.index_select(0, segments.flatten()).view(segments.shape)
