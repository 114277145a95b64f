"""Between nnU-Net's batches and the losses: ignore channel of regions, weights of deep supervision."""

from __future__ import annotations

import torch
from torch import nn


class IgnoreChannel(nn.Module):
    """Takes the ignore mask out of a region target, where nnU-Net appends it as the last channel.

    Args:
        loss: takes logits (B, R, *S), target (B, R, *S) and mask (B, 1, *S), true where the voxel counts.

    Example:
        >>> loss = IgnoreChannel(lambda logits, target, mask: (target.shape[1], mask.sum().item()))
        >>> target = torch.zeros(1, 3, 4, 4, dtype=torch.bool)
        >>> target[:, 2, 0] = True  # the first row is ignored
        >>> loss(torch.zeros(1, 2, 4, 4), target)
        (2, 12)
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss on the R region channels of a target (B, R + 1, *S)."""
        value: torch.Tensor = self.loss(logits, target[:, :-1], ~target[:, -1:].bool())
        return value


def deep_supervision_weights(outputs: int, *, keep_last: bool) -> list[float]:
    """Weights of nnU-Net's deep supervision, highest resolution first, summing to 1.

    Halved from output to output. The coarsest counts nothing, unless it is the only one.

    Args:
        outputs: number of outputs of the network, at least 1.
        keep_last: give the coarsest 1e-6 instead of 0. Distributed training without torch.compile stops when
            a parameter takes no part in the loss.

    Example:
        >>> deep_supervision_weights(3, keep_last=False)
        [0.6666666666666666, 0.3333333333333333, 0.0]
        >>> deep_supervision_weights(1, keep_last=False)
        [1.0]
    """
    if outputs < 1:
        raise ValueError(f"outputs={outputs} is not valid: deep supervision needs at least 1 output.")
    weights = [0.5**index for index in range(outputs)]
    if outputs > 1:
        weights[-1] = 1e-6 if keep_last else 0.0
    return [weight / sum(weights) for weight in weights]
