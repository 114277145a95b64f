"""Small plans beside nnU-Net's own, for quick trainings: only network, patch and batch shrink.

``data_identifier`` stays, so the preprocessed data is used as it is.
"""

from __future__ import annotations

import json
import math
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunet_losses.trainers.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = "nnUNetPlans"
_PER_STAGE = ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage")


@dataclass(frozen=True)
class Reduction:
    """How small.

    Attributes:
        features: channels of each stage; as many stages are kept.
        convolutions: convolutions, or residual blocks, per stage.
        patch_size: largest patch, in voxels along the axes of the configuration; configurations of another
            dimension, and None, keep nnU-Net's patch.
        batch_size: None keeps nnU-Net's.
    """

    features: tuple[int, ...] = (8, 16, 32, 64)
    convolutions: int = 1
    patch_size: tuple[int, ...] | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        numbers = (*self.features, *(self.patch_size or ()), self.convolutions)
        if len(self.features) < 3:  # of two, nnU-Net's deep supervision weighs the only output with 0 / 0
            raise ValueError(f"At least three stages are needed, got the features {self.features}.")
        if min(numbers) < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise ValueError(f"All numbers must be positive: {self}.")


def reduced_plans(plans: dict[str, Any], reduction: Reduction, *, name: str) -> dict[str, Any]:
    """Return a copy of nnU-Net's plans, under another name, with a smaller network, patch and batch.

    Args:
        plans: contents of ``nnUNetPlans.json``; not changed.
        reduction: how small.
        name: of the new plans; becomes part of the name of the model's folder.

    Raises:
        ValueError: if the name is the old one, or a patch is too small for the number of stages.
    """
    if name == plans["plans_name"]:
        raise ValueError(f"The plans are already called {name}; the reduced ones need a name of their own.")
    result = deepcopy(plans)
    result["plans_name"] = name
    for configuration in result["configurations"].values():
        if "architecture" in configuration:
            _reduce(configuration, reduction)
    return result


def write_reduced_plans(
    folder: Path,
    reduction: Reduction | None = None,
    *,
    name: str = "nnUNetReducedPlans",
    source: str = SOURCE,
) -> Path:
    """Write reduced plans into the folder of a preprocessed data set, and return the file.

    Raises:
        FileNotFoundError: if the data set has not been planned.
        ValueError: see ``reduced_plans``.
    """
    planned = folder / f"{source}.json"
    if not planned.is_file():
        raise FileNotFoundError(f"{planned} is missing. Run nnUNetv2_plan_and_preprocess first.")
    target = folder / f"{name}.json"
    plans = reduced_plans(json.loads(planned.read_text("utf-8")), reduction or Reduction(), name=name)
    write_atomically(target, json.dumps(plans, indent=4) + "\n")
    return target


def _reduce(configuration: dict[str, Any], reduction: Reduction) -> None:
    """Shrink one configuration in place."""
    network = configuration["architecture"]["arch_kwargs"]
    stages = min(len(reduction.features), network["n_stages"])
    network["n_stages"] = stages
    for key in _PER_STAGE:
        if key in network:
            network[key] = network[key][:stages]
    network["features_per_stage"] = list(reduction.features[:stages])
    for key in ("n_conv_per_stage", "n_blocks_per_stage"):
        if key in network:
            network[key] = [reduction.convolutions] * stages
    network["n_conv_per_stage_decoder"] = [reduction.convolutions] * (stages - 1)
    configuration["patch_size"] = _patch(configuration["patch_size"], network["strides"], reduction)
    configuration["batch_size"] = reduction.batch_size or configuration["batch_size"]


def _patch(planned: list[int], strides: list[list[int]], reduction: Reduction) -> list[int]:
    """At most the planned and the wanted size, and a multiple of what the network divides it by."""
    wanted = reduction.patch_size
    sizes = planned if wanted is None or len(wanted) != len(planned) else list(map(min, planned, wanted))
    divisors = [math.prod(axis) for axis in zip(*strides, strict=True)]
    patch = [size - size % divisor for size, divisor in zip(sizes, divisors, strict=True)]
    # instance normalisation cannot train on a single voxel
    if math.prod(size // divisor for size, divisor in zip(patch, divisors, strict=True)) < 2:
        raise ValueError(
            f"A patch of {sizes} is too small for {len(strides)} stages, which divide it by {divisors}. "
            "Take a larger patch or fewer stages."
        )
    return patch
