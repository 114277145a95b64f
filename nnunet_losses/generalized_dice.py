"""Generalised Dice: classes weighted by size within one term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from .loss import Loss
from .overlap import class_sums, ratio, reduce_batch

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs
    from .overlap import Phi

Weighting = Literal["square", "simple", "uniform"]
_POWER = {"square": 2, "simple": 1, "uniform": 0}


def class_weights(truth: Tensor, weighting: Weighting) -> Tensor:
    """Return weights (terms, C) from sizes G (terms, C): 1/G^2, 1/G or 1, of sum 1 in each term.

    An absent class takes the largest weight of its term, 1 if all are absent: 1/0 would take everything.
    """
    present = truth > 0
    weights = torch.where(present, truth, torch.inf) ** -_POWER[weighting]
    largest = weights.amax(1, keepdim=True)
    weights = torch.where(present, weights, torch.where(largest > 0, largest, 1))
    return weights / weights.sum(1, keepdim=True)


def generalized_dice_terms(
    inputs: Inputs, *, weighting: Weighting, phi: Phi, smooth: float, include_background: bool
) -> Tensor:
    """Return 1 - (2 sum w TP + smooth) / (sum w (P + G) + smooth), per sample or, if "B" is in phi, batch."""
    sums = class_sums(inputs)[:, :, 0 if include_background else 1 :]
    tp, predicted, truth = reduce_batch(sums, phi).unbind()
    weights = class_weights(truth, weighting)
    overlap = 2 * (weights * tp).sum(1) + smooth
    return 1 - ratio(overlap, (weights * (predicted + truth)).sum(1) + smooth)


def generalized_dice_loss(inputs: Inputs, **settings: Any) -> Tensor:
    """Return the mean of ``generalized_dice_terms``."""
    return generalized_dice_terms(inputs, **settings).mean()


def penalty_gdice_loss(inputs: Inputs, *, k: float, **settings: Any) -> Tensor:
    """Return L / (1 + k (1 - L)), averaged over the terms L of ``generalized_dice_terms``."""
    loss = generalized_dice_terms(inputs, **settings)
    return (loss / (1 + k * (1 - loss))).mean()


class GeneralizedDiceLoss(Loss):
    """Generalised Dice loss; see ``generalized_dice_terms``. Range: [0, 1].

    Example:
        >>> loss = GeneralizedDiceLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # w 0.9, 0.1: 1 - 1.2 / 3.2
        tensor(0.6250)
    """

    key = "generalized_dice"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return generalized_dice_loss(inputs, **self.params)


class PenaltyGDiceLoss(Loss):
    """Generalised Dice with a penalty; see ``penalty_gdice_loss``. Range: [0, 1].

    Example:
        >>> loss = PenaltyGDiceLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 0.625 / (1 + 2.5 * 0.375)
        tensor(0.3226)
    """

    key = "penalty_gdice"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return penalty_gdice_loss(inputs, **self.params)
