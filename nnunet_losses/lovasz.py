"""Lovász-softmax: the convex extension of the Jaccard loss, on sorted errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .loss import Loss

if TYPE_CHECKING:
    from .inputs import Inputs

_INTEGER = {torch.float32: torch.int32, torch.float64: torch.int64}


def lovasz_loss(inputs: Inputs, *, classes: Literal["present", "all"], per_image: bool) -> Tensor:
    """Return the Lovász extension of 1 - Jaccard at the errors |y - p|, averaged over classes.

    The background is a class too. In a distributed training every rank sorts its own batch.

    Args:
        inputs: the prepared batch.
        classes: "present": classes (sigmoid: regions) with a valid voxel; "all": also absent ones, whose loss
            is their largest probability.
        per_image: sort and average within each image, then take the mean of the images.
    """
    losses: Tensor = _Extensions.apply(  # type: ignore[no-untyped-call]  # torch has no types
        inputs.probabilities, inputs.truth, per_image
    )
    if classes == "all":
        return losses.mean()
    sizes = inputs.truth.flatten(2).sum(2)
    present = (sizes if per_image else sizes.sum(0, keepdim=True)) > 0
    return ((losses * present).sum(1) / present.sum(1).clamp_min(1)).mean()


class _Extensions(torch.autograd.Function):
    """The extension for each (image, class), or (1, class) of the joined batch. Keeps its gradient."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, truth: Tensor, per_image: bool) -> Tensor:  # noqa: FBT001 - apply
        gradient = torch.empty_like(probabilities)
        size = 1 if per_image else len(probabilities)
        sorter = _Sorter(probabilities, size)
        losses = [
            sorter.extend(p[:, number], y[:, number], out[:, number])
            for p, y, out in zip(
                *(torch.split(item, size) for item in (probabilities, truth, gradient)), strict=True
            )
            for number in range(probabilities.shape[1])
        ]
        ctx.save_for_backward(gradient)
        return torch.stack(losses).view(-1, probabilities.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0].view(*gradients[0].shape, *[1] * (gradient.ndim - 2)), None, None


class _Sorter:
    """Memory for one class at a time; new memory would cost as much time as sorting.

    Numbers >= 0 sort like their bits, and integers sort faster. The last bit tells the truth.
    """

    def __init__(self, probabilities: Tensor, size: int) -> None:
        shape = (size, *probabilities.shape[2:])
        self._errors = torch.empty(shape, dtype=probabilities.dtype, device=probabilities.device)
        self._keys = self._errors.view(_INTEGER[probabilities.dtype]).flatten()
        self._sorted, self._order = (
            torch.empty_like(self._keys),
            torch.empty_like(self._keys, dtype=torch.int64),
        )
        self._largest = int(self._errors.new_ones(1).view(self._keys.dtype))
        self._rank = torch.arange(1, len(self._keys) + 1, dtype=self._keys.dtype, device=self._keys.device)

    def extend(self, probabilities: Tensor, truth: Tensor, gradient: Tensor) -> Tensor:
        """Return sum_j m_(j) (J_j - J_(j-1)): errors m sorted downwards, J_j the Jaccard loss of the first j.

        Writes the gradient by the probabilities.
        """
        torch.sub(truth, probabilities, out=self._errors).abs_()
        self._keys.neg_().add_(self._largest).mul_(2).add_(truth.flatten().to(self._keys.dtype))
        torch.sort(self._keys, out=(self._sorted, self._order))
        positive = self._sorted.bitwise_and(1)
        slopes = _slopes(positive, self._rank)
        errors = self._sorted.bitwise_right_shift_(1).neg_().add_(self._largest).view(probabilities.dtype)
        loss = (errors * slopes).sum()
        by_error = slopes.mul_(1 - 2 * positive)  # the error of a true voxel is 1 - p
        gradient.copy_(self._errors.flatten().scatter_(0, self._order, by_error).view(gradient.shape))
        return loss


def _slopes(positive: Tensor, rank: Tensor) -> Tensor:
    """Return J_j - J_(j-1) for voxels in order, of which ``positive`` are true: no two J are subtracted.

    With G true voxels, f of them found and m = G + j - f in the union: 1 / m at a true voxel, else
    (G - f) / (m (m - 1)). Without any truth, the first voxel takes all.
    """
    found = positive.cumsum(0, dtype=positive.dtype)
    size = found[-1]
    union = rank - found + size
    left = (size - found).to(torch.float32 if union.dtype == torch.int32 else torch.float64)
    slopes = torch.where(positive.bool(), 1, left.div_((union - 1).clamp_min_(1))).div_(union)
    slopes[0] = torch.where(size == 0, 1, slopes[0])
    return slopes


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
