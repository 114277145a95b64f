"""Dice losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .loss import Loss
from .overlap import first_channel, overlap, ratio

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs
    from .overlap import Phi

_NO_EPSILON = 1e-5  # of a class whose frequency nobody gave: that of ``dice``


def dice_terms(
    inputs: Inputs,
    *,
    phi: Phi,
    squared: bool = False,
    smooth: float | Tensor,
    include_background: bool | None,
) -> Tensor:
    """Return the Dice score (2 TP + smooth) / (P + G + smooth) of each term."""
    sums = overlap(inputs, phi=phi, include_background=include_background, squared=squared)
    return ratio(2 * sums.tp + smooth, sums.predicted + sums.truth + smooth)


def dice_loss(
    inputs: Inputs,
    *,
    phi: Phi,
    squared: bool = False,
    smooth: float | Tensor,
    include_background: bool | None,
) -> Tensor:
    """Return 1 - Dice, averaged over the terms of phi.

    Args:
        inputs: the prepared batch.
        phi: what a term is: "I" a (sample, class), "CI" a sample, "BI" a class, "BCI" the whole batch. It
            decides what an absent class teaches: under "I" next to nothing, under "BI" to predict none of it.
        squared: P = sum p^2, as in V-Net (y^2 is y).
        smooth: epsilon, once in numerator and denominator; one number, or one per term.
        include_background: whether channel 0 counts; None: under sigmoid only.
    """
    terms = dice_terms(inputs, phi=phi, squared=squared, smooth=smooth, include_background=include_background)
    return 1 - terms.mean()


class DiceLoss(Loss):
    """Soft Dice loss; see ``dice_loss``. Range: [0, 1].

    Example:
        >>> import torch
        >>> loss = DiceLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 1 - 2 * 1.5 / (2 + 3)
        tensor(0.4000)
    """

    key = "dice"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return dice_loss(inputs, **self.params)


class DiceImageLoss(Loss):
    """Dice with phi "I", taken per sample and class; see ``dice_loss``. Range: [0, 1].

    Example:
        >>> import torch
        >>> loss = DiceImageLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 1 - 3 / 5
        tensor(0.4000)
    """

    key = "dice_image"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return dice_loss(inputs, phi="I", **self.params)


class DiceClassLoss(Loss):
    """Dice with phi "CI", taken per sample, all classes together; see ``dice_loss``. Range: [0, 1].

    Example:
        >>> import torch
        >>> loss = DiceClassLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 1 - 3 / 5
        tensor(0.4000)
    """

    key = "dice_class"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return dice_loss(inputs, phi="CI", **self.params)


class DiceBatchLoss(Loss):
    """Dice with phi "BI", taken per class, all samples together; see ``dice_loss``. Range: [0, 1].

    Example:
        >>> import torch
        >>> loss = DiceBatchLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 1 - 3 / 5
        tensor(0.4000)
    """

    key = "dice_batch"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return dice_loss(inputs, phi="BI", **self.params)


class DiceAllLoss(Loss):
    """Dice with phi "BCI", taken once for the whole batch; see ``dice_loss``. Range: [0, 1].

    Example:
        >>> import torch
        >>> loss = DiceAllLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 1 - 3 / 5
        tensor(0.4000)
    """

    key = "dice_all"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return dice_loss(inputs, phi="BCI", **self.params)


class DiceImageEpsilonLoss(Loss):
    """Dice with phi "I" and an epsilon for each class; see ``dice_loss``. Range: [0, 1].

    With the heuristic epsilon, the mean number of voxels of the class per training patch, a sample without
    the class teaches to predict none of it, as strongly as a sample with the class teaches to predict it.

    Example:
        >>> import torch
        >>> loss = DiceImageEpsilonLoss(smooth=[0, 5])
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 1 - (3 + 5) / (5 + 5)
        tensor(0.2000)
    """

    key = "dice_image_eps"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        background = self.params["include_background"]
        return dice_loss(inputs, phi="I", smooth=self._smooth(inputs), include_background=background)

    def _smooth(self, inputs: Inputs) -> float | Tensor:
        """One epsilon per term: sample by sample, class by class."""
        if self.params["smooth"] is None:
            return _NO_EPSILON
        first = first_channel(inputs, include_background=self.params["include_background"])
        return inputs.per_channel(self.params["smooth"], "smooth")[first:].repeat(len(inputs.logits))
