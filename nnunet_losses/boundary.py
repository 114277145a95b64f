"""Losses that weight the error by the distance to the true boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .dice import dice_loss
from .overlap import foreground_mean, ratio
from .ranks import mean_over_ranks
from .schedule import check_epoch, increase, rebalance, rebalance_relative
from .spatial import SpatialLoss, foreground
from .weighted import weighted_squares

if TYPE_CHECKING:
    from torch import Tensor

    from .geometry.recipe import Geometry
    from .inputs import Inputs

CONSTANT_WEIGHT = 0.01


def boundary_loss(inputs: Inputs, signed_distance: Tensor) -> Tensor:
    """Mean over valid voxels and foreground classes of p times the signed distance to the true boundary.

    Source: Kervadec et al., https://doi.org/10.1016/j.media.2020.101851.

    Args:
        inputs: the prepared batch.
        signed_distance: (B, F, *S), negative inside.
    """
    probabilities = foreground(inputs, inputs.probabilities)
    return foreground_mean(inputs, (probabilities * signed_distance.to(probabilities.dtype)).sum())


def generalized_surface_loss(inputs: Inputs, signed_distance: Tensor, *, smooth: float) -> Tensor:
    """Mean over samples and foreground classes of 1 - (sum (D (1 - y - p))^2 + smooth) / (sum D^2 + smooth).

    D is the signed distance, 1 for a class that is absent or fills the patch. Source: Celaya et al.,
    https://arxiv.org/abs/2302.03868.

    Args:
        inputs: the prepared batch.
        signed_distance: (B, F, *S).
        smooth: epsilon, once in numerator and denominator.
    """
    probabilities, truth = (foreground(inputs, item) for item in (inputs.probabilities, inputs.truth))
    weights = signed_distance.to(probabilities.dtype).square()
    constant = ~weights.flatten(2).any(2)
    weights = weights + constant.view(*constant.shape, *[1] * (weights.ndim - 2))
    if inputs.valid is not None:
        weights = weights * inputs.valid
    right = weighted_squares(probabilities, 1 - truth, weights)
    terms = ratio(right + smooth, weights.flatten(2).sum(2) + smooth)
    return 1 - terms.mean()


def distance_penalized_cross_entropy_loss(inputs: Inputs, proximity: Tensor) -> Tensor:
    """Mean of (1 + w) (-log p_t), w falling from 1 at the boundary of the voxel's class to 0 in its depth.

    Source: Ma et al., https://doi.org/10.1016/j.media.2021.102035.

    Args:
        inputs: the prepared batch.
        proximity: w, (B, 1, *S), under sigmoid (B, C, *S).
    """
    losses = inputs.cross_entropy
    return mean_over_ranks(torch.addcmul(losses, losses, proximity.to(losses.dtype)).sum(), inputs.count)


class BoundaryLoss(SpatialLoss):
    """Boundary loss; see ``boundary_loss``. Range: all numbers, negative where the prediction is good.

    Example:
        >>> loss = BoundaryLoss()
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[0, 0, 1, 1]]]]))  # 0.5 * (2 + 1 + 0 - 1) / 4
        tensor(0.2500)
    """

    key = "boundary"

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        return boundary_loss(inputs, geometry["signed_distance"])


class DiceBoundaryLoss(SpatialLoss):
    """Dice plus boundary loss, weighted by ``schedule``; see ``boundary_loss``. Range: all numbers.

    Example:
        >>> loss = DiceBoundaryLoss()
        >>> loss.set_epoch(60, 1000)
        >>> {name: round(weight, 2) for name, weight in loss.weights.items()}
        {'dice': 0.4, 'boundary': 0.6}
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[0, 0, 1, 1]]]]))  # 0.4 * 0.5 + 0.6 * 0.25
        tensor(0.3500)
    """

    key = "dice_boundary"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.set_epoch(0, 1)

    def set_epoch(self, epoch: int, num_epochs: int) -> None:
        """Set the weights of an epoch, counted from 0."""
        check_epoch(epoch, num_epochs)
        schedule = self.params["schedule"]
        if schedule == "constant":
            dice, boundary = 1.0, CONSTANT_WEIGHT
        elif schedule == "increase":
            dice, boundary = 1.0, increase(epoch)
        else:
            dice = rebalance(epoch) if schedule == "rebalance" else rebalance_relative(epoch, num_epochs)
            boundary = 1 - dice
        self.weights = {"dice": dice, "boundary": boundary}

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        boundary = boundary_loss(inputs, geometry["signed_distance"])
        return self.weights["dice"] * dice_loss(inputs, **self.region) + self.weights["boundary"] * boundary


class GeneralizedSurfaceLoss(SpatialLoss):
    """Generalised surface loss; see ``generalized_surface_loss``. Range: [0, 1].

    Example:
        >>> loss = GeneralizedSurfaceLoss()
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[0, 0, 1, 1]]]]))  # 1 - 0.25
        tensor(0.7500)
    """

    key = "generalized_surface"

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        return generalized_surface_loss(inputs, geometry["signed_distance"], smooth=self.params["smooth"])


class DistancePenalizedCrossEntropyLoss(SpatialLoss):
    """Cross-entropy, doubled at boundaries; see ``distance_penalized_cross_entropy_loss``. Range: [0, inf).

    Example:
        >>> loss = DistancePenalizedCrossEntropyLoss()
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[0, 0, 1, 1]]]]))  # 1.5 log 2
        tensor(1.0397)
    """

    key = "dpce"

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        return distance_penalized_cross_entropy_loss(inputs, geometry["boundary_proximity"])
