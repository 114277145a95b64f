"""Lovász-softmax: the convex extension of the Jaccard loss, on sorted errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs

_INTEGER = {torch.float32: torch.int32, torch.float64: torch.int64}
_EXACT = 2**24  # float32 counts no further


def lovasz_loss(inputs: Inputs, *, classes: Literal["present", "all"], per_image: bool) -> Tensor:
    """Return the Lovász extension of 1 - Jaccard at the errors |y - p|, averaged over classes.

    The background is a class too. In a distributed training every rank sorts its own batch.

    Args:
        inputs: the prepared batch.
        classes: "present": classes (sigmoid: regions) with a valid voxel; "all": also absent ones, whose loss
            is their largest probability.
        per_image: sort and average within each image, then take the mean of the images.
    """
    truth = _rows(inputs.truth, per_image=per_image)  # (images, C, voxels)
    errors = (truth - _rows(inputs.probabilities, per_image=per_image)).abs()
    losses = torch.stack(
        [_extension(*pair) for pair in zip(errors.flatten(0, 1), truth.flatten(0, 1), strict=True)]
    ).view(truth.shape[:2])
    counted = (truth.sum(2) > 0) if classes == "present" else torch.ones_like(losses, dtype=torch.bool)
    return ((losses * counted).sum(1) / counted.sum(1).clamp_min(1)).mean()


def _rows(maps: Tensor, *, per_image: bool) -> Tensor:
    flat = maps.flatten(2)
    return flat if per_image else flat.transpose(0, 1).flatten(1)[None]


def _extension(errors: Tensor, truth: Tensor) -> Tensor:
    """Return sum_j m_(j) (J_j - J_(j-1)): errors m sorted downwards, J_j the Jaccard loss of the first j."""
    with torch.no_grad():
        order = _downwards(errors)
        found = truth[order].cumsum(0, dtype=torch.float64 if len(order) > _EXACT else None)
        rank = torch.arange(1, len(order) + 1, dtype=found.dtype, device=found.device)
        jaccard = rank / (found[-1] + rank - found)  # 1 - (G - found) / (G + rank - found)
        slopes = torch.diff(jaccard, prepend=jaccard.new_zeros(1)).to(errors.dtype)
        weights = torch.empty_like(slopes).scatter_(0, order, slopes)
    return (errors * weights).sum()


def _downwards(errors: Tensor) -> Tensor:
    """Return the order from the largest error down. Numbers >= 0 sort like their bits; integers faster."""
    bits = errors.contiguous().view(_INTEGER[errors.dtype])
    order: Tensor = torch.sort(torch.iinfo(bits.dtype).max - bits).indices
    return order


class LovaszLoss(Loss):
    """Lovász-softmax loss; see ``lovasz_loss``. Range: [0, 1].

    The authors start from a network trained with cross-entropy. In a distributed training every rank sorts
    its own batch.

    Example:
        >>> loss = LovaszLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # every error is 0.5
        tensor(0.5000)
    """

    key = "lovasz"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return lovasz_loss(inputs, **self.params)
