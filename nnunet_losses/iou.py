"""Intersection over union as a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .loss import Loss
from .overlap import overlap, ratio

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs
    from .overlap import Phi


def iou_loss(inputs: Inputs, *, phi: Phi, smooth: float, include_background: bool | None) -> Tensor:
    """Return 1 - (TP + smooth) / (P + G - TP + smooth), averaged over the terms of phi; see ``dice_loss``."""
    sums = overlap(inputs, phi=phi, include_background=include_background)
    return 1 - ratio(sums.tp + smooth, sums.predicted + sums.fn + smooth).mean()


class IoULoss(Loss):
    """Soft Jaccard loss; see ``iou_loss``. Range: [0, 1].

    Example:
        >>> import torch
        >>> loss = IoULoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 1 - 1.5 / 3.5
        tensor(0.5714)
    """

    key = "iou"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return iou_loss(inputs, **self.params)
