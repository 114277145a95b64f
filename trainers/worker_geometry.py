"""The way of the geometry: made by nnU-Net's data-loader workers, sent beside the target, taken out again.

nnU-Net's data loader keeps of a transformed sample its image and its segmentation. The latter may be a list,
whose elements keep their dtype, but samples are stacked: elements need equal shapes. So every map becomes one
more element of that list, and a table of components, as long as there are components, a row of fixed length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nnunet_losses.geometry.recipe import Geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.geometry.recipe import GeometryRecipe

LONGEST_TABLE = (
    4096  # components of a class in a patch; the geometry of a batch with more is left to the loss
)


def split_ignore_channel(target: Tensor, *, channel_axis: int) -> tuple[Tensor, Tensor]:
    """Take the mask out of a region target, where nnU-Net appends ignored voxels as the last channel.

    Returns:
        The regions, and a mask that is true where the voxel counts.

    Example:
        >>> target = torch.tensor([[[True, False]], [[False, True]]])  # the second voxel is ignored
        >>> split_ignore_channel(target, channel_axis=0)
        (tensor([[[ True, False]]]), tensor([[[ True, False]]]))
    """
    regions = target.shape[channel_axis] - 1
    return target.narrow(channel_axis, 0, regions), ~target.narrow(channel_axis, regions, 1).bool()


@dataclass(frozen=True)
class OutputGeometry:
    """The geometry of one output's target, as tensors that nnU-Net's data loader can stack.

    Args:
        recipe: of the loss of this output.
        ignore_channel: whether the last channel of the target holds the ignored voxels.

    Example:
        >>> from nnunet_losses import create_loss
        >>> output = OutputGeometry(create_loss("blob_dice").geometry_recipe(2), ignore_channel=False)
        >>> sample = output.pack(torch.tensor([[[1, 0, 0, 1, 1]]]))
        >>> [tuple(tensor.shape) for tensor in sample]  # ids; number of components and the size of each
        [(1, 1, 5), (1, 4097)]
        >>> output.unpack([tensor[None] for tensor in sample])["component_sizes"]
        tensor([[[1, 2]]], dtype=torch.int32)
    """

    recipe: GeometryRecipe
    ignore_channel: bool

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of what the recipe makes, in its order."""
        channels = 1 if self.recipe.activation == "softmax" else self.recipe.channels
        axes = len(self.recipe.spacing or (1, 1))
        return tuple(self.recipe(torch.zeros((channels, *[1] * axes), dtype=torch.uint8)))

    def pack(self, target: Tensor) -> list[Tensor]:
        """Make the maps of one sample, whose target is (1, *S), or (R, *S) plus the ignored voxels."""
        parts = split_ignore_channel(target, channel_axis=0) if self.ignore_channel else (target,)
        maps = self.recipe(*parts)
        return [
            torch.from_numpy(_row(maps[name]) if _is_table(maps[name]) else maps[name]) for name in self.names
        ]

    def unpack(self, tensors: Sequence[Tensor]) -> Geometry | None:
        """Read the geometry of a batch; None if one of its tables is longer than ``LONGEST_TABLE``."""
        maps = dict(zip(self.names, tensors, strict=True))
        for name, tensor in maps.items():
            if _is_table(tensor[0]):
                longest = int(tensor[..., 0].max())
                if longest > LONGEST_TABLE:
                    return None
                maps[name] = tensor[..., 1 : 1 + longest].contiguous()
        return Geometry(maps, self.recipe.spacing)


def _is_table(sample: Tensor | NDArray[Any]) -> bool:
    """Whether it is (F, K), a number per component, and not a map (F, *S) with its two or three axes."""
    return sample.ndim == 2


def _row(table: NDArray[Any]) -> NDArray[np.int32]:
    """Lay a table (F, K) into (F, 1 + LONGEST_TABLE): K, then the numbers, as far as there is room."""
    count = table.shape[1]
    row = np.zeros((len(table), 1 + LONGEST_TABLE), np.int32)
    row[:, 0] = count
    row[:, 1 : 1 + count] = table[:, :LONGEST_TABLE]
    return row


@dataclass(frozen=True)
class GeometryTransform:
    """The last transform of a worker: adds the geometry of the outputs to the list of their targets.

    Args:
        before: nnU-Net's transforms, with which the target of each output is made.
        outputs: the geometry of the outputs that count, from the highest resolution on.
        targets: number of targets that ``before`` makes.
    """

    before: Callable[..., dict[str, Any]]
    outputs: tuple[OutputGeometry, ...]
    targets: int

    def __call__(self, **sample: Any) -> dict[str, Any]:
        """Transform a sample, and let its segmentation be the targets followed by their geometry."""
        done = self.before(**sample)
        segmentation = done["segmentation"]
        targets = segmentation[: self.targets] if isinstance(segmentation, list) else [segmentation]
        packed = [output.pack(target) for output, target in zip(self.outputs, targets, strict=False)]
        return {**done, "segmentation": [*targets, *(tensor for tensors in packed for tensor in tensors)]}


@dataclass(frozen=True)
class BatchGeometry:
    """What the training process does with the geometry that its workers make.

    Args:
        outputs: the geometry of the outputs that count, from the highest resolution on.
        deep_supervision: whether the target is a list, with one tensor for each output.
        targets: number of targets in a batch.
    """

    outputs: tuple[OutputGeometry, ...]
    deep_supervision: bool
    targets: int

    def after(self, transform: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        """Follow the transforms of a data loader by the one that makes geometry, if any is needed."""
        return GeometryTransform(transform, self.outputs, self.targets) if self.outputs else transform

    def split(self, target: Any) -> tuple[Any, list[Geometry | None]]:
        """Take the geometry of each output out of a batch's target.

        Returns:
            The target as nnU-Net knows it, and the geometry of the outputs that count: none if the data
            loader made none, None for an output whose loss has to make it.
        """
        if not self.outputs or not isinstance(target, list) or len(target) == self.targets:
            return target, []
        rest = iter(target[self.targets :])
        found = [output.unpack([next(rest) for _ in output.names]) for output in self.outputs]
        return target[: self.targets] if self.deep_supervision else target[0], found
