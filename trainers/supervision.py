"""From nnU-Net's outputs and targets to the losses: one for each output that counts, weighted and summed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .worker_geometry import split_ignore_channel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Supervision(nn.Module):
    """The weighted sum of the losses of the network's outputs.

    Every output has a loss of its own: the voxels of a coarse one are larger, and a loss may keep averages.

    Args:
        losses: of the outputs that count, from the highest resolution on. They take logits (B, C, *S), target
            (B, 1, *S) or (B, C, *S), perhaps a mask (B, 1, *S), true where the voxel counts, and what
            ``given`` gives.
        weights: of all outputs; 0 after those of the losses.
        ignore_channel: whether targets hold the ignored voxels in one more channel, as nnU-Net's of regions.

    Example:
        >>> supervision = Supervision([nn.L1Loss()], [1.0, 0.0], ignore_channel=False)
        >>> ones = torch.ones(1, 1, 2, 2)
        >>> supervision([3 * ones, ones], [ones, ones]), supervision(3 * ones, ones)
        (tensor(2.), tensor(2.))
    """

    def __init__(
        self, losses: Sequence[nn.Module], weights: Sequence[float], *, ignore_channel: bool
    ) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weight_factors = tuple(weights)
        self.ignore_channel = ignore_channel
        self._given: Sequence[dict[str, Any]] = ()

    @contextmanager
    def given(self, arguments: Sequence[dict[str, Any]]) -> Iterator[None]:
        """Call each loss with further named arguments, as long as one batch is at work."""
        self._given = arguments
        try:
            yield
        finally:
            self._given = ()

    def forward(
        self, logits: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor | Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Compute the loss of all outputs, or of the only one without deep supervision."""
        pairs = list(zip(_listed(logits), _listed(target), strict=True))
        counting = zip(self.losses, self._given or [{}] * len(self.losses), strict=True)
        values = [
            weight * self._value(loss, *pair, named)
            for (loss, named), weight, pair in zip(counting, self.weight_factors, pairs, strict=False)
        ]
        return torch.stack(values).sum()

    def extra_repr(self) -> str:
        """Show the weights: nnU-Net writes this into its debug information."""
        return f"weights={self.weight_factors!r}, ignore_channel={self.ignore_channel!r}"

    def _value(
        self, loss: nn.Module, logits: torch.Tensor, target: torch.Tensor, named: dict[str, Any]
    ) -> torch.Tensor:
        parts = split_ignore_channel(target, channel_axis=1) if self.ignore_channel else (target,)
        value: torch.Tensor = loss(logits, *parts, **named)
        return value


def _listed(value: torch.Tensor | Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else value


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
