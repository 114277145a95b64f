"""From logits and target to probabilities and truth: the one place that knows activations and ignore."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from .false_alarms import false_alarm_sum
from .pointwise import sum_of
from .softmax import masked_softmax, softmax_and_cross_entropy, zero_below
from .targets import check_shapes, read_channels, read_labels, read_valid

if TYPE_CHECKING:
    from .spec import Activation


class Inputs:
    """One batch, prepared. Everything is computed on first use and kept: parts of a compound share it.

    Attributes:
        logits: (B, C, *S), float32 or float64. Below the mask they may hold anything, also NaN.
        valid: (B, 1, *S) bool, true where the voxel counts; None if all do.
        foreground: index of the first foreground channel.
    """

    foreground: int

    def __init__(self, logits: Tensor, valid: Tensor | None) -> None:
        self.valid = valid
        self.logits = logits if logits.dtype == torch.float64 else logits.float()

    @property
    def probabilities(self) -> Tensor:
        """Probabilities (B, C, *S), 0 below the mask."""
        raise NotImplementedError

    @property
    def truth(self) -> Tensor:
        """The target as (B, C, *S) channels of 0 and 1, in the dtype of the logits; 0 below the mask."""
        raise NotImplementedError

    @property
    def cross_entropy(self) -> Tensor:
        """-log of the truth's probability: (B, 1, *S), under sigmoid (B, C, *S); 0 below the mask."""
        raise NotImplementedError

    @property
    def positive(self) -> Tensor:
        """Where the target is foreground, bool, in the shape of ``cross_entropy``."""
        raise NotImplementedError

    def truth_weights(self, weights: Tensor) -> Tensor:
        """Weight (C,) of each entry of ``cross_entropy`` by its class, or channel; 0 below the mask."""
        raise NotImplementedError

    def foreground_cross_entropy(self, weight: float) -> Tensor:
        """Sum of -weight y log p - (1 - weight) (1 - y) log (1 - p), valid voxels and foreground channels."""
        raise NotImplementedError

    @cached_property
    def count(self) -> Tensor:
        """Number of the entries of ``cross_entropy`` that count, as a scalar of the dtype of the logits."""
        if self.valid is None:
            return self.logits.new_full((), self.cross_entropy.numel())
        return (self.valid.sum() * self.cross_entropy.shape[1]).to(self.logits.dtype)

    @property
    def voxels(self) -> Tensor:
        """Number of valid voxels per sample, (B,)."""
        if self.valid is None:
            return self.logits.new_full((len(self.logits),), self.logits[0, 0].numel())
        return self.valid.flatten(1).sum(1).to(self.logits.dtype)

    def per_channel(self, values: tuple[float, ...], name: str) -> Tensor:
        """Return numbers as a tensor (C,) beside the logits.

        Raises:
            ValueError: if there is not one number per channel.
        """
        channels = self.logits.shape[1]
        if len(values) != channels:
            raise ValueError(
                f"{name} has {len(values)} values, but the logits have {channels} channels: give one value "
                "per channel, background included"
            )
        return self.logits.new_tensor(values)

    def _counted(self, values: Tensor) -> Tensor:
        return values if self.valid is None else values * self.valid


class SoftmaxInputs(Inputs):
    """Exclusive classes, channel 0 background."""

    foreground = 1

    def __init__(self, logits: Tensor, labels: Tensor, valid: Tensor | None) -> None:
        super().__init__(logits, valid)
        self.labels = labels if valid is None else labels * valid

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities (B, C, *S), 0 below the mask."""
        if "_both" in self.__dict__:  # a compound with a voxel loss: nothing is left to compute
            return self._both[0]
        return masked_softmax(self.logits, self.valid)

    @cached_property
    def truth(self) -> Tensor:
        """One-hot target (B, C, *S), 0 below the mask."""
        classes = torch.arange(self.logits.shape[1], device=self.labels.device)
        one_hot = self.labels == classes.view(1, -1, *[1] * (self.labels.ndim - 2))
        return zero_below(one_hot.to(self.logits.dtype), self.valid)

    @cached_property
    def cross_entropy(self) -> Tensor:
        """-log of the probability of the truth, (B, 1, *S)."""
        return self._both[1]

    @cached_property
    def _both(self) -> tuple[Tensor, Tensor]:
        return softmax_and_cross_entropy(self.logits, self.labels, self.valid)

    @property
    def positive(self) -> Tensor:
        """Where the class is not background, (B, 1, *S)."""
        return self.labels > 0

    def truth_weights(self, weights: Tensor) -> Tensor:
        """Weight of each voxel by its class, (B, 1, *S)."""
        return zero_below(weights[self.labels], self.valid)

    def foreground_cross_entropy(self, weight: float) -> Tensor:
        """Sum of -weight y log p - (1 - weight) (1 - y) log (1 - p) over valid voxels and all but class 0."""
        positive = self.positive.to(self.logits.dtype)
        found = sum_of(self.cross_entropy, lambda losses: (losses * positive, positive))
        alarms = false_alarm_sum(self.logits, self.probabilities, self.truth, self.valid)
        return weight * found + (1 - weight) * alarms


class SigmoidInputs(Inputs):
    """Overlapping regions, every channel foreground."""

    foreground = 0

    def __init__(self, logits: Tensor, channels: Tensor, valid: Tensor | None) -> None:
        super().__init__(logits if valid is None else logits.masked_fill(~valid, 0), valid)
        self._channels = channels if valid is None else channels & valid

    @property
    def positive(self) -> Tensor:
        """Where the voxel belongs to the region, (B, C, *S)."""
        return self._channels

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities (B, C, *S), 0 below the mask."""
        return self._counted(torch.sigmoid(self.logits))

    @cached_property
    def truth(self) -> Tensor:
        """The target (B, C, *S), 0 below the mask."""
        return self.positive.to(self.logits.dtype)

    @cached_property
    def cross_entropy(self) -> Tensor:
        """Binary cross-entropy of each channel, (B, C, *S)."""
        return self._counted(F.binary_cross_entropy_with_logits(self.logits, self.truth, reduction="none"))

    def truth_weights(self, weights: Tensor) -> Tensor:
        """Weight of each (voxel, channel) by its channel, (B, C, *S)."""
        return self._counted(weights.view(1, -1, *[1] * (self.logits.ndim - 2)).expand_as(self.logits))

    def foreground_cross_entropy(self, weight: float) -> Tensor:
        """Sum of -weight y log p - (1 - weight) (1 - y) log (1 - p) over valid voxels and regions."""
        weights = torch.where(self.positive, self.logits.new_full((), weight), 1 - weight)
        return sum_of(self.cross_entropy, lambda losses: (losses * weights, weights))


def prepare(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    activation: Activation = "softmax",
    ignore_index: int | None = None,
) -> Inputs:
    """Check a batch and prepare it.

    Values are checked where that costs no device synchronisation: on the CPU. Elsewhere a label out of range
    is as undefined as it is in torch's own cross-entropy.

    Args:
        logits: (B, C, *S), two or three spatial axes, any floating dtype.
        target: (B, 1, *S) class ids, of any integer dtype or whole floats, or (B, C, *S) channels
            of 0 and 1. Under sigmoid (B, C, *S) only.
        mask: (B, 1, *S), true (or not 0) where the voxel counts.
        activation: "softmax" or "sigmoid".
        ignore_index: label of voxels that do not count. In a target of channels: a value in any channel; of
            one-hot channels also one of the classes.

    Raises:
        ValueError: if shapes do not fit, or labels are out of range.
        TypeError: if logits are not floating point.

    Example:
        >>> inputs = prepare(torch.zeros(1, 2, 2, 2), torch.tensor([[[[0, 1], [1, 255]]]]), ignore_index=255)
        >>> inputs.truth[:, 1].tolist()
        [[[0.0, 1.0], [1.0, 0.0]]]
        >>> inputs.count
        tensor(3.)
    """
    check_shapes(logits, target, mask, activation)
    valid = read_valid(target, mask, ignore_index, classes=logits.shape[1] if activation == "softmax" else 0)
    if activation == "softmax":
        return SoftmaxInputs(logits, read_labels(target, valid, logits.shape[1]), valid)
    return SigmoidInputs(logits, read_channels(target, valid), valid)
