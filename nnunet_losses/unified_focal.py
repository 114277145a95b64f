"""Unified focal loss, asymmetric: focal cross-entropy and focal Tversky loss that treat background apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .loss import Loss
from .overlap import class_sums, ratio
from .pointwise import focal, sum_of
from .ranks import mean_over_ranks, zero_if_nothing_counts

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs

_FLOOR = 1e-7  # of a Tversky loss below an exponent under 1


def asymmetric_focal_loss(inputs: Inputs, *, delta: float, gamma: float) -> Tensor:
    """Return the mean of (1-delta) (1-p_t)^gamma (-log p_t) on background, delta (-log p_t) on foreground."""
    positive = inputs.positive

    def weighted(losses: Tensor) -> tuple[Tensor, Tensor]:
        values, slopes = focal(losses, gamma)
        values = torch.where(positive, delta * losses, values.mul_(1 - delta))
        return values, torch.where(positive, delta, slopes.mul_(1 - delta))

    return mean_over_ranks(sum_of(inputs.cross_entropy, weighted), inputs.count)


def asymmetric_focal_tversky_loss(inputs: Inputs, *, delta: float, gamma: float, smooth: float) -> Tensor:
    """Return the mean over samples and classes of U, for foreground max(U, 1e-7)^(1-gamma).

    U is the Tversky loss with fn = delta, fp = 1 - delta. Under sigmoid each channel has its own background.
    """
    background, foreground = _errors(inputs, delta=delta, smooth=smooth)
    raised = foreground.clamp_min(_FLOOR) ** (1 - gamma)
    return torch.cat([background, raised], dim=1).mean()


def _errors(inputs: Inputs, *, delta: float, smooth: float) -> tuple[Tensor, Tensor]:
    """Return U of the backgrounds (B, 1 or C) and of the foreground classes (B, C')."""
    tp, predicted, truth = class_sums(inputs).unbind()
    fp, fn = predicted - tp, truth - tp
    classes = _tversky(tp, fp, fn, delta=delta, smooth=smooth)
    if inputs.foreground:
        return classes[:, :1], classes[:, 1:]
    tn = inputs.voxels[:, None] - tp - fp - fn
    return _tversky(tn, fn, fp, delta=delta, smooth=smooth), classes


def _tversky(tp: Tensor, fp: Tensor, fn: Tensor, *, delta: float, smooth: float) -> Tensor:
    return 1 - ratio(tp + smooth, tp + delta * fn + (1 - delta) * fp + smooth)


def unified_focal_loss(inputs: Inputs, *, delta: float, gamma: float, weight: float, smooth: float) -> Tensor:
    """Return weight * (focal Tversky) + (1 - weight) * (focal cross-entropy), both asymmetric.

    Args:
        inputs: the prepared batch.
        delta: weight of false negatives and of foreground; background has 1 - delta.
        gamma: how much background is suppressed and foreground enhanced; 0 not at all.
        weight: share of the Tversky part.
        smooth: epsilon of the Tversky part.
    """
    voxels = asymmetric_focal_loss(inputs, delta=delta, gamma=gamma)  # first: then Tversky shares the softmax
    tversky = asymmetric_focal_tversky_loss(inputs, delta=delta, gamma=gamma, smooth=smooth)
    return zero_if_nothing_counts(weight * tversky + (1 - weight) * voxels, inputs.valid)


class UnifiedFocalLoss(Loss):
    """Asymmetric unified focal loss; see ``unified_focal_loss``. Range: [0, inf), above 0 by the floor.

    Example:
        >>> loss = UnifiedFocalLoss(weight=0)
        >>> # (0.4 * 0.5^0.5 + 3 * 0.6) log 2 / 4
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))
        tensor(0.3609)
    """

    key = "unified_focal"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return unified_focal_loss(inputs, **self.params)
