"""The geometry of a batch: the recipe that a data-loader worker follows, and what a loss receives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..targets import read_channels, read_labels, read_valid
from .maps import Sample, make_maps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..spec import Activation
    from .distance import Spacing


@dataclass(frozen=True)
class Geometry:
    """Maps of a batch as tensors, first axis the sample. Make it with a recipe.

    Attributes:
        maps: tensors by name; ``nnunet_losses.geometry.maps.MAPS`` tells their shapes.
        spacing: of the voxels, in the units of the distances; None: 1.
    """

    maps: Mapping[str, Tensor]
    spacing: Spacing = None

    def __getitem__(self, name: str) -> Tensor:
        return self.maps[name]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Geometry:
        """Move all maps to a device."""
        return self._each(lambda item: item.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Geometry:
        """Pin all maps, so that they can be moved while the GPU computes."""
        return self._each(Tensor.pin_memory)

    def _each(self, function: Any) -> Geometry:
        return replace(self, maps={name: function(item) for name, item in self.maps.items()})


@dataclass(frozen=True)
class GeometryRecipe:
    """Says how to make the geometry that a loss needs. Small, and can be sent to worker processes.

    Calling it makes the maps of one sample; ``collate`` joins samples to the ``geometry`` of ``forward``.

    Args:
        maps: names of the maps.
        channels: number of channels of the logits.
        activation: "softmax" or "sigmoid".
        ignore_index: label of voxels that do not count.
        spacing: distance between voxel centres along each axis; None: 1.
        iterations: of the soft skeleton.

    Example:
        >>> from nnunet_losses import create_loss
        >>> loss = create_loss("boundary", spacing=(1.0, 0.5))
        >>> recipe = loss.geometry_recipe(channels=2)
        >>> target = torch.tensor([[[[0, 0, 1, 1]]], [[[0, 0, 0, 0]]]])  # two samples
        >>> geometry = recipe.collate([recipe(sample) for sample in target])
        >>> geometry["signed_distance"][0].tolist()
        [[[1.0, 0.5, 0.0, -0.5]]]
        >>> logits = torch.zeros(2, 2, 1, 4)
        >>> torch.equal(loss(logits, target, geometry=geometry), loss(logits, target))
        True
    """

    maps: tuple[str, ...]
    channels: int
    activation: Activation = "softmax"
    ignore_index: int | None = None
    spacing: Spacing = None
    iterations: int = 10

    def __call__(self, target: Tensor, mask: Tensor | None = None) -> dict[str, NDArray[Any]]:
        """Make the maps of one sample.

        Args:
            target: (1, *S) class ids, or (C, *S) channels.
            mask: (1, *S), true where the voxel counts.

        Raises:
            ValueError: if a label is out of range, or the spacing has another number of axes.
        """
        softmax = self.activation == "softmax"
        batch, masks = target[None], None if mask is None else mask[None]
        valid = read_valid(batch, masks, self.ignore_index, classes=self.channels if softmax else 0)
        if softmax:
            labels = read_labels(batch, valid, self.channels, as_int64=False)
        else:
            labels = read_channels(batch, valid)
        return self.of_labels(labels[0], None if valid is None else valid[0])

    def of_labels(self, labels: Tensor, valid: Tensor | None) -> dict[str, NDArray[Any]]:
        """Make the maps of a sample that has been read: labels (1, *S), under sigmoid channels (C, *S)."""
        softmax = self.activation == "softmax"
        array = labels.cpu().numpy()
        counted = np.ones(array.shape[1:], bool) if valid is None else valid[0].cpu().numpy()
        foreground = np.concatenate([array == c for c in range(1, self.channels)]) if softmax else array
        sample = Sample(
            foreground if valid is None else foreground & counted,
            exclusive=softmax,
            valid=counted,
            spacing=self._checked_spacing(counted.ndim),
            iterations=self.iterations,
        )
        return make_maps(self.maps, sample)

    def collate(self, samples: Sequence[Mapping[str, NDArray[Any]]]) -> Geometry:
        """Join the maps of samples; tables of components are filled up with 0 to the longest."""
        return Geometry({name: _stack([item[name] for item in samples]) for name in samples[0]}, self.spacing)

    def scaled(self, factors: Sequence[float]) -> GeometryRecipe:
        """Return the recipe for a target that is smaller by one factor per axis (2: half the size)."""
        spacing = self.spacing or (1.0,) * len(factors)
        return replace(self, spacing=tuple(a * b for a, b in zip(spacing, factors, strict=True)))

    def _checked_spacing(self, axes: int) -> Spacing:
        if self.spacing is not None and len(self.spacing) != axes:
            raise ValueError(
                f"spacing={self.spacing} has {len(self.spacing)} numbers, but the batch has {axes} spatial "
                "axes; give one number per axis, in the order of the array"
            )
        return self.spacing


def _stack(arrays: Sequence[NDArray[Any]]) -> Tensor:
    longest = max(array.shape[-1] for array in arrays)
    if any(array.shape[-1] < longest for array in arrays):
        arrays = [
            np.pad(item, [(0, 0)] * (item.ndim - 1) + [(0, longest - item.shape[-1])]) for item in arrays
        ]
    return torch.from_numpy(np.stack(arrays))
