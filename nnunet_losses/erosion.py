"""Repeated erosion of an error map, with a gradient that is made at once and keeps one map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def erosion_sums(errors: Tensor, valid: Tensor | None, *, erosions: int, alpha: float) -> Tensor:
    """Sum of e_k (k + 1)^alpha over the valid voxels and over k, for each map; differentiable by the errors.

    e_k is the mean of e_(k-1) over the voxel and its face neighbours (0 outside the patch) minus 0.5, at
    least 0, stretched to [0, 1] over the patch unless constant.

    Args:
        errors: e_(-1), (B, F, *S), from 0 to 1.
        valid: (B, 1, *S) bool, true where the voxel counts; None: everywhere.
        erosions: how many.
        alpha: how strongly errors count that survive many erosions.

    Returns:
        Sums (B, F).

    Example:
        >>> erosion_sums(torch.ones(1, 1, 3, 3), None, erosions=1, alpha=2.0)  # 1, four times 0.5, corners 0
        tensor([[3.]])
    """
    sums: Tensor = _ErosionSums.apply(  # type: ignore[no-untyped-call]  # torch has no types
        errors, valid, erosions, alpha
    )
    return sums


class _ErosionSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, errors: Tensor, valid: Tensor | None, erosions: int, alpha: float) -> Tensor:
        counted = torch.ones_like(errors[:, :1]) if valid is None else valid.to(errors.dtype)
        # In one piece: the gradient of flat maps is added up in place, which a copy would lose.
        maps, weights = errors.contiguous().flatten(0, 1), counted.expand_as(errors).flatten(0, 1)
        factors = [step**alpha for step in range(1, erosions + 1)]
        if errors.device.type == "cpu":  # each map alone stays in the cache and can stop early
            pairs = zip(torch.split(maps, 1), torch.split(weights, 1), strict=True)
            parts = [_sum_and_gradient(*pair, factors, stop_early=True) for pair in pairs]
        else:
            parts = [_sum_and_gradient(maps, weights, factors, stop_early=False)]
        ctx.save_for_backward(torch.cat([gradient for _, gradient in parts]).view(errors.shape))
        return torch.cat([total for total, _ in parts]).view(errors.shape[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        by_sum = gradients[0].view(*gradient.shape[:2], *[1] * (gradient.ndim - 2))
        return gradient * by_sum, None, None, None


def _sum_and_gradient(
    maps: Tensor, weights: Tensor, factors: list[float], *, stop_early: bool
) -> tuple[Tensor, Tensor]:
    """Return the sums of maps (M, *S), each erosion times its factor, (M,), and their gradient (M, *S)."""
    total, steps = maps.new_zeros(len(maps)), [_Erosion(maps)]
    for factor in factors:
        result = steps[-1].result
        total += factor * (result * weights).flatten(1).sum(1)
        if len(steps) == len(factors) or (stop_early and not result.any()):
            break
        steps.append(_Erosion(result))
    gradient = torch.zeros_like(maps)
    for step, factor in reversed(list(zip(steps, factors, strict=False))):
        gradient = step.before(gradient.add_(weights, alpha=factor))
    return total, gradient


class _Erosion:
    """One erosion of maps (M, *S). ``result`` = (eroded - low) / scale, or eroded where that is constant."""

    def __init__(self, maps: Tensor) -> None:
        space = tuple(range(1, maps.ndim))
        eroded = _cross_mean(maps).sub_(0.5).clamp_min_(0)
        low, high = eroded.amin(space, keepdim=True), eroded.amax(space, keepdim=True)
        self._constant = high == low
        self._all_positive = low > 0
        self._scale = torch.where(self._constant, 1, high - low)
        self.result = eroded.sub_(torch.where(self._constant, 0, low)).div_(self._scale)

    def before(self, gradient: Tensor) -> Tensor:
        """Return the gradient by the maps, given that by the result, which is overwritten."""
        flat = self.result.flatten(1)
        stretched = torch.where(self._constant, 0, 1).flatten(1)
        through_scale = (gradient * self.result).flatten(1).sum(1, keepdim=True) * stretched
        through_low = gradient.flatten(1).sum(1, keepdim=True) * stretched - through_scale
        gradient.flatten(1).scatter_add_(1, flat.argmax(1, keepdim=True), -through_scale)
        gradient.flatten(1).scatter_add_(1, flat.argmin(1, keepdim=True), -through_low)
        positive = self.result.sign().clamp_min_(self._all_positive.to(gradient.dtype))
        return _cross_mean(gradient.div_(self._scale).mul_(positive))


def _cross_mean(values: Tensor) -> Tensor:
    """Mean over the voxel and its face neighbours, 0 outside the patch; its own adjoint."""
    total = values.clone()
    for axis in range(1, values.ndim):
        last = values.shape[axis] - 1
        total.narrow(axis, 0, last).add_(values.narrow(axis, 1, last))
        total.narrow(axis, 1, last).add_(values.narrow(axis, 0, last))
    return total.div_(2 * (values.ndim - 1) + 1)
