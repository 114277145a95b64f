"""Cross-entropy, weighted cross-entropy, and the mean of its largest values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from .loss import Loss
from .ranks import mean_over_ranks

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs


def cross_entropy_loss(inputs: Inputs) -> Tensor:
    """Mean of -log p_t over valid voxels; under sigmoid, of the binary ones over voxels and channels."""
    return mean_over_ranks(inputs.cross_entropy.sum(), inputs.count)


def weighted_cross_entropy_loss(inputs: Inputs, *, class_weights: tuple[float, ...] | None) -> Tensor:
    """Sum of w_t (-log p_t) divided by the sum of w_t; under sigmoid each channel has its weight."""
    if class_weights is None:
        return cross_entropy_loss(inputs)
    weights = inputs.truth_weights(inputs.per_channel(class_weights, "class_weights"))
    return mean_over_ranks((inputs.cross_entropy * weights).sum(), weights.sum())


def topk_loss(inputs: Inputs, *, k: float) -> Tensor:
    """Mean of the max(1, floor(k V)) largest voxel cross-entropies of the batch; V valid voxels.

    Under sigmoid a value is a (voxel, channel). An ignored voxel is neither selected nor counted in V.
    In a distributed training every rank selects from its own batch.
    """
    values = inputs.cross_entropy.flatten()
    if inputs.valid is None:
        return _largest(values, _share(k, values.numel())).mean()
    counted = inputs.valid.expand_as(inputs.cross_entropy).flatten()
    number = _share(k, int(inputs.count))
    if number == 0:
        return values.sum()  # nothing counts: 0, but connected to the graph
    return _largest(values.masked_fill(~counted, -1), number).mean()


def _share(k: float, count: int) -> int:
    return min(count, max(1, math.floor(k * count)))


def _largest(values: Tensor, number: int) -> Tensor:
    return torch.topk(values, number, sorted=False).values


class CrossEntropyLoss(Loss):
    """Cross-entropy; see ``cross_entropy_loss``.

    Range: [0, inf).

    Example:
        >>> loss = CrossEntropyLoss()
        >>> loss(torch.zeros(1, 4, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.int16))  # log 4
        tensor(1.3863)
    """

    key = "ce"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return cross_entropy_loss(inputs)


class WeightedCrossEntropyLoss(Loss):
    """Cross-entropy with class weights; see ``weighted_cross_entropy_loss``. Range: [0, inf).

    Example:
        >>> loss = WeightedCrossEntropyLoss(class_weights=[1, 3])
        >>> logits = torch.tensor([0.0, 0.0, 1.0, 0.0]).view(1, 2, 1, 2)  # p_1 = 0.7311, 0.5
        >>> loss(logits, torch.tensor([[[[1, 0]]]]))  # (3 * 0.3133 + 0.6931) / 4
        tensor(0.4082)
    """

    key = "weighted_ce"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return weighted_cross_entropy_loss(inputs, **self.params)


class TopKLoss(Loss):
    """Mean of the largest voxel cross-entropies; see ``topk_loss``. Range: [0, inf).

    In a distributed training every rank selects from its own batch.

    Example:
        >>> loss = TopKLoss(k=0.5)
        >>> logits = torch.tensor([0.0, 0.0, 1.0, 0.0]).view(1, 2, 1, 2)
        >>> loss(logits, torch.tensor([[[[1, 0]]]]))  # the larger of 0.3133 and 0.6931
        tensor(0.6931)
    """

    key = "topk"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return topk_loss(inputs, **self.params)
