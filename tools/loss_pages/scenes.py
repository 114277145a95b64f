"""What the losses are shown: small patches with a prediction whose probabilities are known.

All scenes are two-dimensional, under softmax, with exclusive classes; a lesion is a disc.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

SILENT = 0.001  # probability of a class where nothing suggests it
MISSED = 0.2  # of a lesion that is about to be missed
FOUND = 0.9  # of a lesion that is found
FALSE_ALARM = 0.8  # where there is none

Situation = Literal["empty_batch", "empty_sample", "absent_class"]
SITUATIONS: tuple[Situation, ...] = ("empty_batch", "empty_sample", "absent_class")
ALARMS = {"small": 1.0, "large": 10.0}  # radii of a false alarm: 5 and 317 voxels
RADII = (0.5, 1.0, 1.5, 2.3, 3.3, 4.6, 6.5, 9.0, 12.5, 17.0)  # from 1 to 901 voxels


@dataclass(frozen=True, eq=False)  # tensors: a scene is equal to itself only
class Scene:
    """A batch and what is looked at in it.

    Args:
        logits: raw, (B, C, *S).
        target: class ids, (B, 1, *S).
        regions: masks (B, *S) bool over which gradients are averaged.
        sample: the sample of the false alarm.
        channel: the channel whose gradients are averaged; the class of the false alarm.
    """

    logits: Tensor
    target: Tensor
    regions: dict[str, Tensor]
    sample: int = 0
    channel: int = 1


def disc(side: int, centre: tuple[float, float], radius: float) -> Tensor:
    """Mask of a disc, (side, side) bool; without a voxel for radius 0."""
    axes = [torch.arange(side, dtype=torch.float64) - position for position in centre]
    squares = axes[0][:, None].square() + axes[1].square()
    return (squares <= radius**2) & (radius > 0)


@cache
def shrinking(radius: float, *, beside: bool) -> Scene:
    """A patch of 96 x 96 voxels with a lesion of a radius, and a false alarm of 29 voxels.

    Args:
        radius: of the lesion, in voxels; 0: there is none.
        beside: whether a large lesion, which is found, lies in the patch too.
    """
    lesion = disc(96, (28, 28), radius)
    alarm = disc(96, (24, 76), 3.0)
    large = disc(96, (72, 58), 16.0) if beside else torch.zeros_like(lesion)
    probability = torch.full((96, 96), SILENT, dtype=torch.float64)
    for mask, value in ((lesion, MISSED), (alarm, FALSE_ALARM), (large, FOUND)):
        probability[mask] = value
    regions = {"lesion": lesion[None], "alarm": alarm[None], "rest": ~(lesion | alarm | large)[None]}
    return Scene(_logits(probability[None, None]), (lesion | large).long()[None, None], regions)


@cache
def empty(situation: Situation, radius: float) -> Scene:
    """Two patches of 64 x 64 voxels, classes A and B, and a false alarm where a class has no voxel.

    "empty_batch": no lesion anywhere, A in the second sample is a false alarm. "empty_sample": the same, but
    the first sample holds a lesion A. "absent_class": the first sample holds a lesion A, and a false alarm of
    class B, which the batch lacks.

    Args:
        situation: which.
        radius: of the false alarm; 0: there is none.
    """
    sample, channel = (0, 2) if situation == "absent_class" else (1, 1)
    lesion, alarm = disc(64, (20, 20), 8.0), disc(64, (44, 44), radius)
    probabilities = torch.full((2, 2, 64, 64), SILENT, dtype=torch.float64)
    target = torch.zeros(2, 1, 64, 64, dtype=torch.int64)
    if situation != "empty_batch":
        probabilities[0, 0][lesion] = FOUND
        target[0, 0][lesion] = 1
    probabilities[sample, channel - 1][alarm] = FALSE_ALARM
    where = torch.zeros(2, 64, 64, dtype=torch.bool)
    where[sample] = alarm
    return Scene(_logits(probabilities), target, {"alarm": where}, sample, channel)


@cache
def faint(mass: float) -> Scene:
    """An empty patch of 64 x 64 voxels over which so many predicted voxels are spread evenly."""
    probability = torch.full((1, 1, 64, 64), mass / 64**2, dtype=torch.float64)
    target = torch.zeros(1, 1, 64, 64, dtype=torch.int64)
    return Scene(_logits(probability), target, {})


def _logits(foreground: Tensor) -> Tensor:
    """Logits whose softmax has these foreground probabilities, up to 1 %.

    Without that variation many voxels tie, and a loss that looks at the largest may point to any of them.
    """
    number = torch.arange(foreground.numel(), dtype=torch.float64).view_as(foreground)
    varied = foreground * (1 + 0.01 * (12.9898 * number).sin())
    return torch.cat([1 - varied.sum(1, keepdim=True), varied], 1).log()
