"""How much memory a prediction needs, and how much there is."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_losses.serve.pipeline.tiles import window_starts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.serve.schema import Member, ModelDescription

SHARE = 0.8  # of the free memory that one prediction may take
HARD_MAXIMUM = 64 * 2**30
# A whole body in thin slices is some thousand tiles, slice by slice some ten thousand. More is a wrong
# spacing, and would keep the network busy for hours.
MOST_TILES = 50_000
SLAB_VOXELS = 2**18  # that an ensemble averages at once, if a slice has no more
FLOAT32, FLOAT64, FLOAT16 = 4, 8, 2


def prediction_memory(
    image_shape: Sequence[int], network_shape: Sequence[int], member: Member, heads: int, appended: int = 0
) -> int:
    """Estimate the bytes that one member's prediction needs at its peak, besides the network itself.

    Args:
        image_shape: (channels, z, y, x) of the image.
        network_shape: of the image at the model's spacing, in the network's axis order.
        member: the configuration.
        heads: number of logit channels.
        appended: channels of a previous stage's labels.
    """
    channels, *spatial = image_shape
    padded = _padded_voxels(network_shape, member)
    image = math.prod(spatial) * (2 * channels * FLOAT32 + 2 * FLOAT16)  # read, copied; nonzero, mask
    sums = heads * FLOAT16 * (1 if len(member.folds) == 1 else 2) + FLOAT16  # logits and weights
    resampling = math.prod(network_shape) * 2 * FLOAT64  # one channel or head at a time
    needed = image + padded * (channels * FLOAT32 + sums) + resampling
    if appended:  # a label map before and after resampling, and its channels, unpadded and padded
        labels = (math.prod(spatial) + math.prod(network_shape)) * 2 * FLOAT32
        needed += labels + padded * 2 * appended * FLOAT32
    return needed


def bundle_memory(
    image_shape: Sequence[int], network_shapes: Sequence[Sequence[int]], description: ModelDescription
) -> int:
    """Estimate the bytes that a bundle's prediction needs at its peak, besides the networks themselves.

    Members run one after the other. Of an ensemble the logits of all are held until the end (float16, at the
    members' spacings; 2 bytes for each head and voxel), of a previous stage its mask.

    Args:
        image_shape: (channels, z, y, x) of the image.
        network_shapes: for each member, of the image at its spacing, in its network's axis order.
        description: of the bundle.
    """
    members = list(zip(network_shapes, description.members, strict=True))
    needs, held = [], []
    for shape, member in members:
        appended = description.network_channels(member) - len(member.preprocessing.channels)
        needs.append(prediction_memory(image_shape, shape, member, description.heads, appended))
        held.append(_padded_voxels(shape, member) * description.heads * FLOAT16 if member.averaged else 0)
    largest = needs.index(max(needs))
    stages = {member.previous_stage for _, member in members} - {None}
    masks = len(stages) * math.prod(image_shape[1:]) * FLOAT16
    return max(needs[largest] + sum(held) - held[largest] + masks, _averaging(image_shape, held, description))


def _averaging(image_shape: Sequence[int], held: Sequence[int], description: ModelDescription) -> int:
    """Bytes that averaging takes: all logits, the mask, and some slices' probabilities of every member."""
    members = len(description.averaged_members)
    if members == 1:
        return 0
    _, *spatial = image_shape
    slab = max(SLAB_VOXELS, math.prod(spatial) // min(spatial))
    image = math.prod(spatial) * (image_shape[0] * FLOAT32 + 2 * FLOAT16)
    return image + sum(held) + (members + 3) * description.heads * slab * FLOAT32


def _padded_voxels(network_shape: Sequence[int], member: Member) -> int:
    patch = (1, *member.tiling.patch_size)[-3:]
    return math.prod(max(size, tile) for size, tile in zip(network_shape, patch, strict=True))


def tile_count(network_shape: Sequence[int], member: Member) -> int:
    """Number of tiles that one fold's network looks at, each once; at least 1.

    Args:
        network_shape: of the image at the model's spacing (z, y, x), in the network's axis order.
        member: the configuration.
    """
    patch = member.tiling.patch_size
    slices = math.prod(network_shape[: 3 - len(patch)])
    padded = [max(size, tile) for size, tile in zip(network_shape[3 - len(patch) :], patch, strict=True)]
    return slices * math.prod(map(len, window_starts(padded, patch, member.tiling.step_size)))


def available_memory() -> int:
    """Bytes that one prediction may take by default: 80 % of what is free, 64 GiB at most."""
    free = min(_machine_memory(), _container_memory())
    return min(int(SHARE * free), HARD_MAXIMUM)


def _machine_memory() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return HARD_MAXIMUM


def _container_memory() -> int:
    """What the control group leaves (a container's limit); the hard maximum where there is none."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return HARD_MAXIMUM * 2
    return HARD_MAXIMUM * 2 if limit == "max" else max(0, int(limit) - used)
