"""-log (1 - p) of the classes that are not there, under softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - its usual name

from .softmax import zero_below

_SAFE = 80  # exp(-80) is a normal number in float32


class _FalseAlarms(torch.autograd.Function):
    """1 - p of a class is the sum of the others: no digit is lost where p is near 1."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, truth: Tensor, valid: Tensor | None) -> Tensor:
        rest = sum_of_others(probabilities)
        if valid is not None:
            rest.add_(~valid)  # 0 there; log 1 counts nothing
        rest[:, 0] = 1
        torch.maximum(rest, truth, out=rest)
        product = rest[:, 1].clone()  # one factor at most is below a half
        for channel in range(2, rest.shape[1]):
            product *= rest[:, channel]
        slopes = rest.reciprocal_().sub_(truth)
        slopes[:, 0] = 0
        ctx.save_for_backward(sum_of_others(slopes))
        return product.log_().sum().neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * -gradients[0], None, None


def sum_of_others(maps: Tensor) -> Tensor:
    """Replace each channel of (B, C, *S) by the sum of all others, without subtracting.

    Example:
        >>> sum_of_others(torch.tensor([[[1.0], [10.0], [100.0]]])).flatten()
        tensor([110., 101.,  11.])
    """
    result, passed = torch.empty_like(maps), torch.zeros_like(maps[:, 0])
    for channel in range(maps.shape[1]):
        result[:, channel] = passed
        passed += maps[:, channel]
    passed.zero_()
    for channel in reversed(range(maps.shape[1])):
        result[:, channel] += passed
        passed += maps[:, channel]
    return result


def false_alarm_sum(logits: Tensor, probabilities: Tensor, truth: Tensor, valid: Tensor | None) -> Tensor:
    """Sum of -log (1 - p_c) over valid voxels and foreground classes c other than the voxel's own.

    Args:
        logits: (B, C, *S). Below the mask they may hold anything.
        probabilities: their softmax, 0 below the mask.
        truth: one-hot (B, C, *S), 0 below the mask.
        valid: (B, 1, *S) bool, or None.
    """
    visible = logits if valid is None else zero_below(logits.clone(), valid)
    if logits.device.type == "cpu" and _spread(visible) < _SAFE:
        total: Tensor = _FalseAlarms.apply(  # type: ignore[no-untyped-call]  # torch has no types
            probabilities, truth, valid
        )
        return total
    logs = F.log_softmax(visible, dim=1)
    others = [torch.cat([logs[:, :c], logs[:, c + 1 :]], 1).logsumexp(1) for c in range(1, logs.shape[1])]
    absent = truth[:, 1:] == 0
    if valid is not None:
        absent &= valid
    return -torch.where(absent, torch.stack(others, 1), 0).sum()


def _spread(logits: Tensor) -> float:
    """Largest difference between two logits, NaN if one is."""
    low, high = torch.aminmax(logits.detach())
    return float(high - low)
