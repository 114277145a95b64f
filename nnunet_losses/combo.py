"""Combo loss: weighted binary cross-entropy of the foreground classes, and the Dice score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .dice import dice_terms
from .loss import Loss
from .overlap import foreground_mean
from .ranks import zero_if_nothing_counts

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs


def combo_loss(inputs: Inputs, *, alpha: float, beta: float, **region: Any) -> Tensor:
    """Return alpha mean[-beta y log p - (1-beta) (1-y) log(1-p)] - (1-alpha) Dice.

    Args:
        inputs: the prepared batch.
        alpha: weight of the mean, over valid voxels and foreground classes.
        beta: weight of the foreground in it; below 0.5 false positives cost more.
        **region: phi, smooth and include_background of the Dice score, which is averaged over its terms.
    """
    mean = foreground_mean(inputs, inputs.foreground_cross_entropy(beta))
    return zero_if_nothing_counts(
        alpha * mean - (1 - alpha) * dice_terms(inputs, **region).mean(), inputs.valid
    )


class ComboLoss(Loss):
    """Combo loss; see ``combo_loss``. Range: [alpha - 1, inf): not 1 - score, so it may be negative.

    Example:
        >>> import torch
        >>> loss = ComboLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 0.5 * 0.5 log 2 - 0.5 * 0.6
        tensor(-0.1267)
    """

    key = "combo"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return combo_loss(inputs, **self.params)
