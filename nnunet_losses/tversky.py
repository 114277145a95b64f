"""Tversky losses: overlap with separate weights of false positives and false negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .loss import Loss
from .overlap import overlap, ratio
from .ranks import zero_if_nothing_counts

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs
    from .overlap import Phi

_FLOOR = 1e-7


def tversky_terms(
    inputs: Inputs, *, fp: float, fn: float, phi: Phi, smooth: float, include_background: bool | None
) -> Tensor:
    """Return the Tversky index (TP + smooth) / (TP + fp FP + fn FN + smooth) of each term."""
    sums = overlap(inputs, phi=phi, include_background=include_background)
    return ratio(sums.tp + smooth, sums.tp + fp * sums.fp + fn * sums.fn + smooth)


def tversky_loss(
    inputs: Inputs, *, fp: float, fn: float, phi: Phi, smooth: float, include_background: bool | None
) -> Tensor:
    """Return 1 - Tversky index, averaged over the terms of phi; see ``dice_loss`` for phi.

    Args:
        inputs: the prepared batch.
        fp: weight of false positives (alpha of Salehi et al.).
        fn: weight of false negatives (beta of Salehi et al.). fp = fn = 0.5 is Dice, 1 is IoU.
        phi: what a term is.
        smooth: epsilon, once in numerator and denominator.
        include_background: whether channel 0 counts; None: under sigmoid only.
    """
    terms = tversky_terms(inputs, fp=fp, fn=fn, phi=phi, smooth=smooth, include_background=include_background)
    return 1 - terms.mean()


def focal_tversky_loss(inputs: Inputs, *, gamma: float, **tversky: Any) -> Tensor:
    """Return (1 - Tversky index)^(1 / gamma), averaged over the terms; ``tversky`` goes to ``tversky_terms``.

    The power comes before the mean. Its base is at least 1e-7, where the slope of the power is still finite.
    """
    errors = (1 - tversky_terms(inputs, **tversky)).clamp_min(_FLOOR)
    return zero_if_nothing_counts((errors ** (1 / gamma)).mean(), inputs.valid)


def asymmetric_loss(inputs: Inputs, *, beta: float, **region: Any) -> Tensor:
    """Return the Tversky loss with fn = beta^2 / (1 + beta^2) and fp = 1 / (1 + beta^2): 1 - F_beta."""
    fp = 1 / (1 + beta**2)
    return tversky_loss(inputs, fp=fp, fn=1 - fp, **region)


class TverskyLoss(Loss):
    """Tversky loss; see ``tversky_loss``. Range: [0, 1].

    Example:
        >>> import torch
        >>> loss = TverskyLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 1 - 1.5 / (1.5 + 0.15 + 1.05)
        tensor(0.4444)
    """

    key = "tversky"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.require_one_of("fp", "fn")

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return tversky_loss(inputs, **self.params)


class FocalTverskyLoss(Loss):
    """Tversky loss to the power 1/gamma; see ``focal_tversky_loss``. Range: [0, 1].

    gamma > 1 raises small errors, as in the paper: a term that is nearly right keeps its gradient.

    Example:
        >>> import torch
        >>> loss = FocalTverskyLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # (1 - 1.5 / 2.7)^0.75
        tensor(0.5443)
    """

    key = "focal_tversky"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.require_one_of("fp", "fn")

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return focal_tversky_loss(inputs, **self.params)


class AsymmetricLoss(Loss):
    """Asymmetric similarity loss; see ``asymmetric_loss``. Range: [0, 1].

    Example:
        >>> import torch
        >>> loss = AsymmetricLoss(beta=1)
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # Dice: 1 - 3 / 5
        tensor(0.4000)
    """

    key = "asymmetric"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return asymmetric_loss(inputs, **self.params)
