"""What all losses have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from .inputs import prepare
from .registry import get_loss_spec

if TYPE_CHECKING:
    from .inputs import Inputs
    from .spec import Activation


class Loss(nn.Module):
    """A loss on raw logits. Subclasses set ``key`` and ``compute``; the catalogue has the parameters.

    Args:
        activation: "softmax" or "sigmoid".
        ignore_index: label of voxels that do not count.
        **params: the parameters of this loss in the catalogue, checked here.

    Attributes:
        params: all parameters, in the order of the catalogue.

    Raises:
        ValueError, TypeError, NotImplementedError: see ``create_loss``.
    """

    key: ClassVar[str]

    def __init__(
        self, *, activation: Activation = "softmax", ignore_index: int | None = None, **params: Any
    ) -> None:
        super().__init__()
        self.activation = _check_activation(self.key, activation)
        self.ignore_index = _check_ignore_index(ignore_index, activation)
        self.params = get_loss_spec(self.key).parse(params)

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar in float32 (float64 for float64 logits).

        Args:
            logits: (B, C, *S), raw outputs of the network.
            target: (B, 1, *S) class ids or (B, C, *S) channels of 0 and 1.
            mask: (B, 1, *S), true where the voxel counts.
        """
        with torch.autocast(
            logits.device.type, enabled=False
        ):  # sums over millions of voxels overflow float16
            inputs = prepare(logits, target, mask, activation=self.activation, ignore_index=self.ignore_index)
            return self.compute(inputs)

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch."""
        raise NotImplementedError

    def set_epoch(self, epoch: int, num_epochs: int) -> None:
        """Tell a schedule where the training stands; epochs count from 0. Most losses have no schedule."""

    def require_one_of(self, *names: str) -> None:
        """Refuse weights that are all 0: such a loss would be constant."""
        if not any(self.params[name] for name in names):
            raise ValueError(
                f"{' and '.join(names)} are both 0, so that {self.key!r} is constant; raise one of them"
            )

    def extra_repr(self) -> str:
        """Show every setting: nnU-Net writes this into its debug information."""
        settings = {"activation": self.activation, "ignore_index": self.ignore_index, **self.params}
        return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def _check_activation(key: str, activation: Activation) -> Activation:
    if activation not in ("softmax", "sigmoid"):
        raise ValueError(
            f"activation={activation!r} is not valid: expected 'softmax' (exclusive classes) or 'sigmoid' "
            "(overlapping regions)"
        )
    supported = get_loss_spec(key).activations
    if activation not in supported:
        raise NotImplementedError(f"loss {key!r} is not defined for {activation!r}, only for {supported}")
    return activation


def _check_ignore_index(ignore_index: int | None, activation: Activation) -> int | None:
    if ignore_index is None:
        return None
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, int):
        raise TypeError(f"ignore_index={ignore_index!r} is not valid: expected an integer label, or None")
    if activation == "sigmoid" and ignore_index in (0, 1):
        raise ValueError(
            f"ignore_index={ignore_index} is not possible under sigmoid, whose target is made of 0 and 1; "
            "give a mask to forward instead"
        )
    return ignore_index
