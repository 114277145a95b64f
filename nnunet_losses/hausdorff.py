"""Losses that stand in for the Hausdorff distance: Karimi & Salcudean, https://doi.org/10.1109/TMI.2019.2930068."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .dice import dice_loss
from .erosion import erosion_sums
from .loss import Loss
from .overlap import foreground_mean
from .prediction_distance import mask_distance
from .ranks import sum_over_ranks
from .schedule import check_epoch
from .spatial import SpatialLoss, foreground
from .weighted import weighted_squares

if TYPE_CHECKING:
    from torch import Tensor

    from .geometry.recipe import Geometry
    from .inputs import Inputs


def hausdorff_loss(inputs: Inputs, distances: tuple[Tensor, ...], *, alpha: float) -> Tensor:
    """Mean over valid voxels and foreground classes of (p - y)^2 times the sum of d^alpha.

    Args:
        inputs: the prepared batch.
        distances: maps d, each (B, F, *S): of the truth, and of the prediction for the two-sided loss.
        alpha: how strongly far errors count.
    """
    probabilities, truth = (foreground(inputs, item) for item in (inputs.probabilities, inputs.truth))
    weights = _power(distances[0].to(truth.dtype), alpha)
    for item in distances[1:]:
        weights += _power(item.to(truth.dtype), alpha)
    return foreground_mean(inputs, weighted_squares(probabilities, truth, weights).sum())


def two_sided_distances(inputs: Inputs, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Distance maps of the truth and of the valid voxels with p > 0.5, the latter without gradient."""
    predicted = foreground(inputs, inputs.probabilities.detach()) > 0.5
    return geometry["distance"], mask_distance(predicted, geometry.spacing)


def erosion_loss(inputs: Inputs, *, erosions: int, alpha: float) -> Tensor:
    """Mean over valid voxels and foreground classes of sum_k e_k (k + 1)^alpha, e_k an erosion of (p - y)^2.

    An erosion is the mean over the voxel and its face neighbours (0 outside the patch) minus 0.5, at least 0,
    stretched to [0, 1] over the patch of the sample and class unless constant. The gradient flows through
    minimum and maximum.

    Args:
        inputs: the prepared batch.
        erosions: how many.
        alpha: how strongly errors count that survive many erosions.
    """
    errors = foreground(inputs, inputs.probabilities - inputs.truth).square()
    return foreground_mean(inputs, erosion_sums(errors, inputs.valid, erosions=erosions, alpha=alpha).sum())


def _power(distances: Tensor, alpha: float) -> Tensor:
    return distances.square() if alpha == 2 else distances.pow(alpha)


class HausdorffDTLoss(SpatialLoss):
    """Hausdorff loss by distance maps of truth and prediction; see ``hausdorff_loss``. Range: [0, inf).

    Example:
        >>> loss = HausdorffDTLoss()
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[0, 0, 1, 1]]]]))  # 0.25 * (4 + 1 + 1 + 4) / 4
        tensor(0.6250)
    """

    key = "hausdorff_dt"

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        return hausdorff_loss(inputs, two_sided_distances(inputs, geometry), alpha=self.params["alpha"])


class HausdorffOneSidedLoss(SpatialLoss):
    """Hausdorff loss by the distance map of the truth alone; see ``hausdorff_loss``. Range: [0, inf).

    Example:
        >>> loss = HausdorffOneSidedLoss(alpha=1.0)
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[0, 0, 1, 1]]]]))  # 0.25 * (2 + 1 + 1 + 2) / 4
        tensor(0.3750)
    """

    key = "hausdorff_one_sided"

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        return hausdorff_loss(inputs, (geometry["distance"],), alpha=self.params["alpha"])


class HausdorffErosionLoss(Loss):
    """Hausdorff loss by repeated erosion of the error; see ``erosion_loss``. Range: [0, inf).

    Example:
        >>> loss = HausdorffErosionLoss(erosions=1)
        >>> wrong = torch.tensor([40.0, -40.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
        >>> loss(wrong, torch.ones(1, 1, 3, 3, dtype=torch.int16))  # e_0: 1, beside it 0.5, in the corners 0
        tensor(0.3333)
    """

    key = "hausdorff_er"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return erosion_loss(inputs, **self.params)


class DiceHausdorffLoss(SpatialLoss):
    """a Dice + HausdorffDT, a the ratio of HausdorffDT's mean to Dice's in the last epoch; 1 in the first.

    Range: [0, inf). The means are over training steps, which are calls in training mode whose logits require
    a gradient, and over all ranks, so that a is the same on each. They are buffers: a trainer that saves
    ``state_dict()`` resumes with the same a.

    Example:
        >>> loss = DiceHausdorffLoss(smooth=0.0)
        >>> logits, target = torch.zeros(1, 2, 1, 4, requires_grad=True), torch.tensor([[[[0, 0, 1, 1]]]])
        >>> loss(logits, target).item()  # Dice 0.5, Hausdorff 0.625
        1.125
        >>> loss.set_epoch(1, 10)
        >>> loss.weights["dice"], loss(logits, target).item()
        (1.25, 1.25)
    """

    key = "dice_hausdorff"
    dice_weight: Tensor
    totals: Tensor
    epoch: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register_buffer("dice_weight", torch.ones(()))
        self.register_buffer("totals", torch.zeros(2))  # of Hausdorff and of Dice
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))

    @property
    def weights(self) -> dict[str, float]:
        """The weights of this epoch."""
        return {"dice": float(self.dice_weight), "hausdorff": 1.0}

    def set_epoch(self, epoch: int, num_epochs: int) -> None:
        """Begin an epoch, counted from 0: take the ratio of what was recorded since the last one began."""
        check_epoch(epoch, num_epochs)
        if epoch == 0:
            self.dice_weight.fill_(1)
        elif epoch != int(self.epoch):
            self._take_ratio()
        self.totals.zero_()
        self.epoch.fill_(epoch)

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        hausdorff = hausdorff_loss(inputs, two_sided_distances(inputs, geometry), alpha=2)
        dice = dice_loss(inputs, **self.region)
        if self.training and hausdorff.requires_grad:
            self.record(hausdorff, dice)
        return self.dice_weight.to(dice) * dice + hausdorff

    def record(self, hausdorff: Tensor, dice: Tensor) -> None:
        """Add the values of one training step to those of the epoch, without waiting for the device."""
        values = torch.stack([hausdorff, dice]).detach().float()
        self.totals = self.totals.to(values.device) + values

    def _take_ratio(self) -> None:
        hausdorff, dice = sum_over_ranks(self.totals).unbind()
        if bool(dice > 0) and bool(
            hausdorff > 0
        ):  # nothing was recorded, or nothing counted: keep the weight
            self.dice_weight.copy_(hausdorff / dice)
