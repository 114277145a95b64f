"""Boundary difference over union: an overlap loss that weighs the border more, the larger the object is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .loss import Loss
from .overlap import class_sums, first_channel, ratio, reduce_terms
from .ranks import zero_if_nothing_counts

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs
    from .overlap import Phi

_LARGEST = 0.8  # of a


def boundary_sizes(truth: Tensor) -> Tensor:
    """Count the voxels of each map (B, C, *S) with a face neighbour outside the map or the patch: (B, C)."""
    inner = truth.bool()
    inside = inner
    for axis in range(2, truth.ndim):
        size, missing = truth.shape[axis], torch.zeros_like(inside.narrow(axis, 0, 1))
        before = torch.cat([missing, inside.narrow(axis, 0, size - 1)], dim=axis)
        after = torch.cat([inside.narrow(axis, 1, size - 1), missing], dim=axis)
        inner = inner & before & after
    return (inside & ~inner).flatten(2).sum(2).to(truth.dtype)


def boundary_dou_loss(inputs: Inputs, *, phi: Phi, smooth: float, include_background: bool | None) -> Tensor:
    """Return (Q - 2 TP + smooth) / (Q - (1+a) TP + smooth), averaged over the terms of phi.

    Q = sum p^2 + sum y^2, and a = 1 - 2 N/G, clamped to [0, 0.8], with N the boundary voxels among the G of a
    term.
    A term without truth is 1 and teaches nothing.
    """
    first = first_channel(inputs, include_background=include_background)
    sums = class_sums(inputs, squared=True)
    boundary = boundary_sizes(inputs.truth)[None]
    tp, squares, truth, border = reduce_terms(torch.cat([sums, boundary])[:, :, first:], phi).unbind()
    a = (1 - 2 * border / truth.clamp_min(1)).clamp(0, _LARGEST)
    union = squares + truth
    terms = ratio(union - 2 * tp + smooth, union - (1 + a) * tp + smooth)
    return zero_if_nothing_counts(terms.mean(), inputs.valid)


class BoundaryDoULoss(Loss):
    """Boundary difference over union; see ``boundary_dou_loss``. Range: [0, 1].

    Example:
        >>> loss = BoundaryDoULoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # a = 0: (4 - 3) / (4 - 1.5)
        tensor(0.4000)
    """

    key = "boundary_dou"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return boundary_dou_loss(inputs, **self.params)
