"""Exponential logarithmic loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .dice import dice_terms
from .loss import Loss
from .pointwise import raised, sum_of
from .ranks import mean_over_ranks, sum_over_ranks, zero_if_nothing_counts

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs

_FLOOR = 1e-7  # of the bases, where the slope of a power below 1 is still finite


def exp_log_loss(
    inputs: Inputs,
    *,
    w_dice: float,
    w_ce: float,
    gamma: float,
    class_frequencies: tuple[float, ...] | None,
    **region: Any,
) -> Tensor:
    """Return w_dice mean_c (-log Dice_c)^gamma + w_ce mean_i w_t (-log p_t)^gamma.

    Powers come before the means. The floor is on -log and not on Dice: an absent class keeps its gradient.

    Args:
        inputs: the prepared batch.
        w_dice: weight of the Dice part.
        w_ce: weight of the cross-entropy part, a mean over valid voxels (sigmoid: and channels).
        gamma: the exponent of both parts.
        class_frequencies: f of w_c = sqrt(sum f / f_c); None: counted in the batch.
        **region: phi, smooth and include_background of Dice.
    """
    weights = inputs.truth_weights(_class_weights(inputs, class_frequencies))

    def weighted(losses: Tensor) -> tuple[Tensor, Tensor]:
        values, slopes = raised(losses, gamma, _FLOOR)
        return values.mul_(weights), slopes.mul_(weights)

    voxels = mean_over_ranks(sum_of(inputs.cross_entropy, weighted), inputs.count)
    dice = -dice_terms(inputs, **region).log()
    terms = (dice.clamp_min(_FLOOR) ** gamma).mean()
    return zero_if_nothing_counts(w_dice * terms + w_ce * voxels, inputs.valid)


def _class_weights(inputs: Inputs, frequencies: tuple[float, ...] | None) -> Tensor:
    """Return sqrt(sum f / f_c), 0 for a class without voxels."""
    if frequencies is None:
        counts = sum_over_ranks(inputs.truth.flatten(2).sum((0, 2)))
    else:
        counts = inputs.per_channel(frequencies, "class_frequencies")
    return torch.where(counts > 0, counts.sum() / counts, 0).sqrt()


class ExpLogLoss(Loss):
    """Exponential logarithmic loss; see ``exp_log_loss``. Range: [0, inf), a little above 0 by the floor.

    Example:
        >>> loss = ExpLogLoss(gamma=1)
        >>> # 0.8 (-log 0.6) + 0.2 (2 + 3 * 1.1547) / 4 log 2
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))
        tensor(0.5980)
    """

    key = "exp_log"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return exp_log_loss(inputs, **self.params)
