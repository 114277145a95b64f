"""Cross-entropy and Dice in one training: half and half, from one to the other, or one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import schedule
from .cross_entropy import cross_entropy_loss
from .dice import dice_loss
from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs


def ce_dice_loss(inputs: Inputs, *, weight: float, **region: Any) -> Tensor:
    """Return weight * cross-entropy + (1 - weight) * Dice; a part of weight 0 is left out."""
    if weight == 0:
        return dice_loss(inputs, **region)
    if weight == 1:
        return cross_entropy_loss(inputs)
    return weight * cross_entropy_loss(inputs) + (1 - weight) * dice_loss(inputs, **region)


class CEDiceLoss(Loss):
    """The mean of cross-entropy and Dice loss. Range: [0, inf).

    Example:
        >>> import torch
        >>> loss = CEDiceLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # (log 2 + 0.4) / 2
        tensor(0.5466)
    """

    key = "ce_dice"

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return ce_dice_loss(inputs, weight=0.5, **self.params)


class _CEToDiceLoss(Loss):
    """``weight`` is that of cross-entropy."""

    weight = 1.0

    @property
    def weights(self) -> dict[str, float]:
        """The weights of this epoch."""
        return {"ce": self.weight, "dice": 1 - self.weight}


class CEToDiceLinearLoss(_CEToDiceLoss):
    """From cross-entropy in the first epoch to Dice in the last, by ``schedule.linear``. Range: [0, inf).

    Example:
        >>> import torch
        >>> loss = CEToDiceLinearLoss()
        >>> loss.set_epoch(2, 3)
        >>> loss.weights
        {'ce': 0.0, 'dice': 1.0}
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))
        tensor(0.4000)
    """

    key = "ce_to_dice_linear"

    def set_epoch(self, epoch: int, num_epochs: int) -> None:
        """Set the weight of cross-entropy."""
        schedule.check_epoch(epoch, num_epochs)
        self.weight = schedule.linear(epoch, num_epochs)

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return ce_dice_loss(inputs, weight=self.weight, **self.params)


class CEToDiceFinetuneLoss(_CEToDiceLoss):
    """Cross-entropy for the first ``fraction`` of the epochs, then Dice. Range: [0, inf).

    Example:
        >>> import torch
        >>> loss = CEToDiceFinetuneLoss(fraction=0.5)
        >>> loss.set_epoch(1, 4)
        >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 1]]]]))  # log 2
        tensor(0.6931)
    """

    key = "ce_to_dice_finetune"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.set_epoch(0, 1)

    def set_epoch(self, epoch: int, num_epochs: int) -> None:
        """Choose the part."""
        schedule.check_epoch(epoch, num_epochs)
        self.weight = schedule.finetune(epoch, num_epochs, fraction=self.params["fraction"])

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        region = {name: value for name, value in self.params.items() if name != "fraction"}
        return ce_dice_loss(inputs, weight=self.weight, **region)
