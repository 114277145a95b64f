"""What the losses with distances, components or skeletons have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .geometry.recipe import Geometry, GeometryRecipe
from .inputs import SoftmaxInputs, prepare
from .loss import Loss
from .registry import get_loss_spec

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs


class SpatialLoss(Loss):
    """A loss that looks beyond single voxels. Subclasses set ``key`` and ``compute_on``.

    ``forward`` takes the geometry of the target if a data-loader worker has made it, or else makes it.
    """

    @property
    def region(self) -> dict[str, Any]:
        """The parameters of the Dice part."""
        return {name: self.params[name] for name in ("phi", "smooth", "include_background")}

    def geometry_recipe(self, channels: int) -> GeometryRecipe:
        """Say how to make what ``forward`` takes as ``geometry``, for logits with so many channels."""
        return GeometryRecipe(
            maps=get_loss_spec(self.key).geometry,
            channels=channels,
            activation=self.activation,
            ignore_index=self.ignore_index,
            spacing=self.params.get("spacing"),
            iterations=self.params.get("iterations", 0),
        )

    def forward(
        self, logits: Tensor, target: Tensor, mask: Tensor | None = None, geometry: Geometry | None = None
    ) -> Tensor:
        """Return the loss, a scalar in float32 (float64 for float64 logits).

        Args:
            logits: (B, C, *S), raw outputs of the network.
            target: (B, 1, *S) class ids or (B, C, *S) channels of 0 and 1.
            mask: (B, 1, *S), true where the voxel counts.
            geometry: what ``geometry_recipe`` makes of this target and mask; None: made here, on the CPU.
        """
        with torch.autocast(logits.device.type, enabled=False):
            inputs = prepare(logits, target, mask, activation=self.activation, ignore_index=self.ignore_index)
            if geometry is None:
                return self.compute(inputs)
            return self.compute_on(inputs, self._checked(geometry, inputs))

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch, without geometry."""
        return self.compute_on(inputs, self._make_geometry(inputs))

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        raise NotImplementedError

    def _make_geometry(self, inputs: Inputs) -> Geometry:
        recipe = self.geometry_recipe(inputs.logits.shape[1])
        labels = inputs.labels if isinstance(inputs, SoftmaxInputs) else inputs.positive
        valid = [None] * len(labels) if inputs.valid is None else inputs.valid
        samples = [recipe.of_labels(*pair) for pair in zip(labels, valid, strict=True)]
        return recipe.collate(samples).to(inputs.logits.device)

    def _checked(self, geometry: Geometry, inputs: Inputs) -> Geometry:
        names = get_loss_spec(self.key).geometry
        batch, _, *space = inputs.logits.shape
        for name in names:
            shape = tuple(geometry.maps[name].shape) if name in geometry.maps else ()
            if shape[:1] + shape[2:] != (batch, *space):
                found = f"has {name!r} of shape {shape}" if shape else f"has no {name!r}"
                raise ValueError(
                    f"the geometry {found}; loss {self.key!r} expects {names} for logits of shape "
                    f"{tuple(inputs.logits.shape)}: make it with loss.geometry_recipe(channels), from the "
                    "target of the same batch and scale"
                )
        return geometry.to(inputs.logits.device)


def foreground(inputs: Inputs, channels: Tensor) -> Tensor:
    """Select the foreground channels (B, F, *S) of a tensor (B, C, *S)."""
    return channels[:, inputs.foreground :]
