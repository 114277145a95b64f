"""Weighted sums of squared errors, the core of the losses with distance maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _WeightedSquares(torch.autograd.Function):
    """One map is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, q: Tensor, weights: Tensor) -> Tensor:
        errors = p - q
        product = errors * weights
        ctx.save_for_backward(product)
        return errors.mul_(product).flatten(2).sum(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (product,) = ctx.saved_tensors
        factor = (2 * gradients[0]).view(*product.shape[:2], *[1] * (product.ndim - 2))
        return product * factor, None, None


def weighted_squares(p: Tensor, q: Tensor, weights: Tensor) -> Tensor:
    """Sum w (p - q)^2 over the voxels of each sample and channel, differentiable by p.

    Args:
        p: (B, F, *S).
        q: (B, F, *S), constant.
        weights: (B, F, *S), constant.

    Returns:
        Sums (B, F).

    Example:
        >>> p, q, weights = torch.tensor([[1.0, 2.0], [0.0, 5.0], [2.0, 1.0]]).view(3, 1, 1, 2)
        >>> weighted_squares(p, q, weights)
        tensor([[11.]])
    """
    sums: Tensor = _WeightedSquares.apply(p, q, weights)  # type: ignore[no-untyped-call]  # torch has no types
    return sums
