"""Sensitivity and specificity as squared errors on foreground and background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .loss import Loss
from .overlap import first_channel, reduce_terms

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs
    from .overlap import Phi


def sensitivity_specificity_loss(
    inputs: Inputs, *, w: float, phi: Phi, smooth: float, include_background: bool | None
) -> Tensor:
    """Return w sum (y-p)^2 y / (G + smooth) + (1-w) sum (y-p)^2 (1-y) / (V-G + smooth), the mean over terms.

    Args:
        inputs: the prepared batch.
        w: weight of the error on foreground (sensitivity).
        phi: what a term is; V counts its voxels, once for each of its classes.
        smooth: epsilon of the denominators.
        include_background: whether channel 0 counts; None: under sigmoid only.
    """
    first = first_channel(inputs, include_background=include_background)
    truth = inputs.truth[:, first:].flatten(2)
    errors = (inputs.probabilities[:, first:].flatten(2) - truth).square()
    missed, alarms = errors * truth, errors * (1 - truth)
    voxels = inputs.voxels[:, None].expand(-1, truth.shape[1])
    sums = torch.stack([missed.sum(2), alarms.sum(2), truth.sum(2), voxels])
    missed, alarms, size, voxels = reduce_terms(sums, phi).unbind()
    return (w * _mean(missed, size + smooth) + (1 - w) * _mean(alarms, voxels - size + smooth)).mean()


def _mean(total: Tensor, size: Tensor) -> Tensor:
    return total / torch.where(size == 0, 1, size)


class SensitivitySpecificityLoss(Loss):
    """Sensitivity-specificity loss; see ``sensitivity_specificity_loss``. Range: [0, 1].

    Example:
        >>> loss = SensitivitySpecificityLoss(w=0.2)
        >>> logits = torch.tensor([0.0, 0.0, 40.0, 0.0]).view(1, 2, 1, 2)  # p_1 = 1, 0.5
        >>> loss(logits, torch.tensor([[[[1, 0]]]]))  # 0.2 * 0 + 0.8 * 0.5^2
        tensor(0.2000)
    """

    key = "sensitivity_specificity"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return sensitivity_specificity_loss(inputs, **self.params)
