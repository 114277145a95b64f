"""Losses for thin structures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .compound import dice_ce_loss
from .dice import dice_loss
from .overlap import ratio
from .soft_skeleton import skeleton_precision
from .spatial import SpatialLoss, foreground

if TYPE_CHECKING:
    from .geometry.recipe import Geometry
    from .inputs import Inputs


def cldice_score(inputs: Inputs, skeleton: Tensor, *, iterations: int, smooth: float) -> Tensor:
    """2 Tp Ts / (Tp + Ts) per sample and foreground class: do the skeletons lie in the other's mask?

    Source: Shit et al., https://arxiv.org/abs/2003.07311.

    Args:
        inputs: the prepared batch.
        skeleton: soft skeleton of the truth, (B, F, *S).
        iterations: of the soft skeleton; more than the largest radius in voxels.
        smooth: epsilon, once in numerator and denominator of Tp and of Ts.
    """
    probabilities, truth = (foreground(inputs, item) for item in (inputs.probabilities, inputs.truth))
    precision = skeleton_precision(probabilities, truth, iterations=iterations, smooth=smooth)
    sensitivity = _inside(skeleton.to(probabilities.dtype), probabilities, smooth)
    together = precision + sensitivity
    return 2 * precision * sensitivity / together.clamp_min(torch.finfo(together.dtype).tiny)


def skeleton_recall_loss(inputs: Inputs, tube: Tensor, *, smooth: float) -> Tensor:
    """Mean over samples and foreground classes of 1 - recall of the truth inside a tube around its skeleton.

    Source: Kirchhoff et al., https://arxiv.org/abs/2404.03010.

    Args:
        inputs: the prepared batch.
        tube: (B, 1, *S) bool, under sigmoid (B, C, *S).
        smooth: epsilon, once in numerator and denominator.
    """
    probabilities, truth = (foreground(inputs, item) for item in (inputs.probabilities, inputs.truth))
    return 1 - _inside(truth * tube, probabilities, smooth).mean()


def _inside(weights: Tensor, values: Tensor, smooth: float) -> Tensor:
    shared = (weights * values).flatten(2).sum(2)
    return ratio(shared + smooth, weights.flatten(2).sum(2) + smooth)


class ClDiceLoss(SpatialLoss):
    """(1 - alpha) Dice + alpha clDice; see ``cldice_score``. Range: [0, 1].

    Example:
        >>> loss = ClDiceLoss(alpha=1.0)
        >>> target = torch.tensor([[[[0, 0, 0], [1, 1, 1], [0, 0, 0]]]])
        >>> loss(torch.zeros(1, 2, 3, 3), target)  # nothing of a constant map is skeleton: Tp = 1; Ts = 0.5
        tensor(0.3333)
    """

    key = "cldice"

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        alpha, smooth = float(self.params["alpha"]), self.params["smooth"]
        score = cldice_score(
            inputs, geometry["soft_skeleton"], iterations=self.params["iterations"], smooth=smooth
        )
        return (1 - alpha) * dice_loss(inputs, **self.region) + alpha * (1 - score.mean())


class SkeletonRecallLoss(SpatialLoss):
    """Dice + cross-entropy + skeleton recall; see ``skeleton_recall_loss``. Range: [0, inf).

    Example:
        >>> loss = SkeletonRecallLoss()
        >>> target = torch.tensor([[[[0, 0, 0], [1, 1, 1], [0, 0, 0]]]])
        >>> loss(torch.zeros(1, 2, 3, 3), target)  # 1 - 3 / (4.5 + 3) + log 2 + 0.5
        tensor(1.7931)
    """

    key = "skeleton_recall"

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        base = dice_ce_loss(inputs, w_dice=1, w_ce=1, **self.region)
        return base + skeleton_recall_loss(inputs, geometry["skeleton_tube"], smooth=self.params["smooth"])
