"""Overlap of prediction and truth: TP, P and G under a phi. The one place that sums over the voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from .ranks import mean_over_ranks, sum_over_ranks

if TYPE_CHECKING:
    from .inputs import Inputs

Phi = Literal["I", "CI", "BI", "BCI"]


class Overlap(NamedTuple):
    """Sums over valid voxels, one entry per term of the phi (for "I" that is (B * C',), sample by sample).

    ``tp`` = sum p y, ``predicted`` = sum p (or p squared), ``truth`` = sum y.
    """

    tp: Tensor
    predicted: Tensor
    truth: Tensor

    @property
    def fp(self) -> Tensor:
        """Sum of p (1 - y)."""
        return self.predicted - self.tp

    @property
    def fn(self) -> Tensor:
        """Sum of (1 - p) y."""
        return self.truth - self.tp


class _ClassSums(torch.autograd.Function):
    """Sums over voxels of p y and of p, for each sample and channel: (B, C) each.

    Both are linear in p, so that one pass writes the gradient, and no product has to be kept for it.
    """

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(truth)
        space = tuple(range(2, truth.ndim))
        return (probabilities * truth).sum(space), probabilities.sum(space)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (truth,) = ctx.saved_tensors
        by_tp, by_predicted = (item.view(*item.shape, *[1] * (truth.ndim - 2)) for item in gradients)
        return torch.addcmul(by_predicted, by_tp, truth), None


def class_sums(inputs: Inputs, *, squared: bool = False) -> Tensor:
    """Return TP, P and G as (3, B, C), background included. ``squared`` takes p squared for P."""
    probabilities, truth = inputs.probabilities, inputs.truth
    tp, predicted = _ClassSums.apply(probabilities, truth)  # type: ignore[no-untyped-call]  # unannotated in torch
    if squared:
        predicted = probabilities.square().flatten(2).sum(2)
    return torch.stack([tp, predicted, truth.flatten(2).sum(2)])


def first_channel(inputs: Inputs, *, include_background: bool | None) -> int:
    """Index of the first channel that a region loss looks at."""
    if include_background is None:
        return inputs.foreground
    return 0 if include_background else 1


def reduce_batch(sums: Tensor, phi: Phi) -> Tensor:
    """Add up sums (N, B, C) to (N, 1, C), over all ranks, if the batch is in phi."""
    return sum_over_ranks(sums.sum(1, keepdim=True)) if "B" in phi else sums


def reduce_terms(sums: Tensor, phi: Phi) -> Tensor:
    """Add up sums (N, B, C) to (N, terms)."""
    if "C" in phi:
        sums = sums.sum(2, keepdim=True)
    return reduce_batch(sums, phi).flatten(1)


def overlap(
    inputs: Inputs, *, phi: Phi, include_background: bool | None = None, squared: bool = False
) -> Overlap:
    """Return TP, P and G, one entry per term.

    Args:
        inputs: the prepared batch.
        phi: what a term is: "I" a (sample, class), "CI" a sample, "BI" a class, "BCI" the whole batch.
        include_background: whether channel 0 counts; None: under sigmoid only.
        squared: P is the sum of p squared (y squared is y).

    Example:
        >>> from nnunet_losses.inputs import prepare
        >>> inputs = prepare(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))
        >>> overlap(inputs, phi="I")
        Overlap(tp=tensor([1.5000]), predicted=tensor([2.]), truth=tensor([3.]))
    """
    first = first_channel(inputs, include_background=include_background)
    sums = class_sums(inputs, squared=squared)[:, :, first:]
    if not sums.shape[2]:
        raise ValueError("include_background=False leaves no channel: the logits have only one")
    return Overlap(*reduce_terms(sums, phi))


def foreground_mean(inputs: Inputs, total: Tensor) -> Tensor:
    """Divide a sum by the number of (valid voxel, foreground class) pairs; 0 if there are none."""
    classes = inputs.logits.shape[1] - inputs.foreground
    return mean_over_ranks(total, inputs.voxels.sum() * classes)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide; the score is 1 where the denominator is 0: no voxel and no smooth, so nothing to find."""
    nothing = denominator == 0
    return torch.where(nothing, 1, numerator / torch.where(nothing, 1, denominator))
