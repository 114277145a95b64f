"""Sums over voxels of a function of their cross-entropy, with one map kept for the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from collections.abc import Callable

    Function: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]

_FLOOR = 1e-7  # of 1 - p_t below an exponent under 1, whose slope at 0 is infinite


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: Tensor, function: Function) -> Tensor:
        values, slopes = function(losses)
        ctx.save_for_backward(slopes)
        return values.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradients[0], None


def sum_of(losses: Tensor, function: Function) -> Tensor:
    """Sum a function over voxel losses, as a scalar.

    Args:
        losses: of any shape.
        function: returns, for losses, the values and their derivatives. Both are the caller's to keep.

    Example:
        >>> losses = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> total = sum_of(losses, lambda c: (c * c, 2 * c))
        >>> total.item(), torch.autograd.grad(total, losses)
        (5.0, (tensor([2., 4.]),))
    """
    total: Tensor = _Sum.apply(losses, function)  # type: ignore[no-untyped-call]  # torch has no types
    return total


def focal(losses: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return (1 - p)^gamma (-log p) and its derivative by the cross-entropy -log p.

    1 - p comes from -log p without cancellation. Below an exponent under 1 it is at least 1e-7, so that the
    slope at p = 1 is finite.

    Example:
        >>> focal(torch.tensor([0.0, 1.0]), gamma=1.0)  # 1 - 1/e, and 1 - 1/e + 1/e
        (tensor([0.0000, 0.6321]), tensor([0., 1.]))
    """
    error = torch.neg(losses).expm1_().neg_()
    rest = 1 - error  # p, the derivative of 1 - p
    if gamma < 1:
        rest.mul_(error >= _FLOOR)
        error.clamp_min_(_FLOOR)
    # d/dc e^gamma c = e^gamma + gamma c e^(gamma - 1) p
    lower = error.pow(gamma - 1)
    power = error.mul_(lower)
    slopes = torch.addcmul(power, lower.mul_(rest), losses, value=gamma)
    return power.mul_(losses), slopes


def raised(losses: Tensor, gamma: float, floor: float) -> tuple[Tensor, Tensor]:
    """Return max(c, floor)^gamma and its derivative.

    Example:
        >>> raised(torch.tensor([0.0, 4.0]), gamma=0.5, floor=1e-7)
        (tensor([3.1623e-04, 2.0000e+00]), tensor([0.0000, 0.2500]))
    """
    base = losses.clamp_min(floor)
    values = base.pow(gamma)
    slopes = torch.div(values, base, out=base).mul_(gamma)
    return values, slopes.mul_(losses >= floor)
