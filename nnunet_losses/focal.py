"""Focal loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .loss import Loss
from .pointwise import focal, sum_of
from .ranks import mean_over_ranks

if TYPE_CHECKING:
    from typing import Any

    from torch import Tensor

    from .inputs import Inputs


def focal_loss(inputs: Inputs, *, gamma: float, alpha: float | tuple[float, ...] | None) -> Tensor:
    """Mean of alpha_t (1 - p_t)^gamma (-log p_t) over valid voxels; under sigmoid over voxels and channels.

    Args:
        inputs: the prepared batch.
        gamma: exponent; 0 gives the (alpha-weighted) cross-entropy, divided by V, not by the weights.
        alpha: one number: alpha on foreground, 1 - alpha on background; one per class; None: 1.
    """
    weights = None if alpha is None else _alpha_map(inputs, alpha)

    def weighted(losses: Tensor) -> tuple[Tensor, Tensor]:
        values, slopes = focal(losses, gamma)
        return (values, slopes) if weights is None else (values.mul_(weights), slopes.mul_(weights))

    return mean_over_ranks(sum_of(inputs.cross_entropy, weighted), inputs.count)


def _alpha_map(inputs: Inputs, alpha: float | tuple[float, ...]) -> Tensor:
    if isinstance(alpha, tuple):
        return inputs.truth_weights(inputs.per_channel(alpha, "alpha"))
    return torch.where(inputs.positive, inputs.logits.new_full((), alpha), 1 - alpha)


def check_alpha(activation: str, alpha: object) -> None:
    """Refuse weights per class where channels are not classes.

    Raises:
        NotImplementedError: for a list under sigmoid.
    """
    if activation == "sigmoid" and isinstance(alpha, tuple):
        raise NotImplementedError(
            f"alpha={alpha!r}: weights per class have no meaning under sigmoid; give one number, the weight "
            "of foreground (background has 1 - alpha)"
        )


class FocalLoss(Loss):
    """Focal loss; see ``focal_loss``. Range: [0, inf).

    Example:
        >>> loss = FocalLoss()
        >>> loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.int16))  # 0.5^2 log 2
        tensor(0.1733)
    """

    key = "focal"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        check_alpha(self.activation, self.params["alpha"])

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        return focal_loss(inputs, **self.params)
