"""Sums of Dice and a voxel loss. The voxel loss comes first: then Dice finds the activation computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cross_entropy import cross_entropy_loss, topk_loss
from .dice import dice_loss
from .focal import check_alpha, focal_loss
from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs


def dice_ce_loss(inputs: Inputs, *, w_dice: float, w_ce: float, **region: Any) -> Tensor:
    """Return w_ce times cross-entropy plus w_dice times Dice; ``region`` goes to ``dice_loss``."""
    return w_ce * cross_entropy_loss(inputs) + w_dice * dice_loss(inputs, **region)


def dice_focal_loss(
    inputs: Inputs, *, gamma: float, alpha: float | tuple[float, ...] | None, **region: Any
) -> Tensor:
    """Return focal loss plus Dice; ``region`` goes to ``dice_loss``."""
    return focal_loss(inputs, gamma=gamma, alpha=alpha) + dice_loss(inputs, **region)


def dice_topk_loss(inputs: Inputs, *, k: float, **region: Any) -> Tensor:
    """Return TopK cross-entropy plus Dice; ``region`` goes to ``dice_loss``."""
    return topk_loss(inputs, k=k) + dice_loss(inputs, **region)


class DiceCELoss(Loss):
    """Dice plus cross-entropy; see ``dice_ce_loss``. Range: [0, inf).

    Example:
        >>> import torch
        >>> loss = DiceCELoss(w_ce=0.5)
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 0.4 + 0.5 log 2
        tensor(0.7466)
    """

    key = "dice_ce"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.require_one_of("w_dice", "w_ce")

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return dice_ce_loss(inputs, **self.params)


class DiceFocalLoss(Loss):
    """Dice plus focal loss; see ``dice_focal_loss``. Range: [0, inf).

    Example:
        >>> import torch
        >>> loss = DiceFocalLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 0.4 + 0.25 log 2
        tensor(0.5733)
    """

    key = "dice_focal"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        check_alpha(self.activation, self.params["alpha"])

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return dice_focal_loss(inputs, **self.params)


class DiceTopKLoss(Loss):
    """Dice plus TopK cross-entropy; see ``dice_topk_loss``. Range: [0, inf).

    In a distributed training every rank selects from its own batch.

    Example:
        >>> import torch
        >>> loss = DiceTopKLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # 0.4 + log 2
        tensor(1.0931)
    """

    key = "dice_topk"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return dice_topk_loss(inputs, **self.params)
