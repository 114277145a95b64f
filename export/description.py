"""A model folder in the words of ``serve/schema.py``."""

from __future__ import annotations

import math
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal

from nnunet_losses.serve.schema import (
    Channel,
    Fingerprint,
    Head,
    Label,
    LabelResampling,
    Normalization,
    Preprocessing,
    Resampling,
    Tiling,
)

if TYPE_CHECKING:
    from .model_folder import ModelFolder

_STATISTICS = ("mean", "std", "percentile_00_5", "percentile_99_5")


def head(model: ModelFolder) -> Head:
    """Softmax over labels, or one sigmoid per region."""
    return Head.SIGMOID if model.labels.has_regions else Head.SOFTMAX


def labels(model: ModelFolder) -> tuple[Label, ...]:
    """Foreground labels, as the mask holds them."""
    named = [
        (name, tuple(int(member) for member in value) if isinstance(value, list | tuple) else (int(value),))
        for name, value in model.dataset["labels"].items()
        if name != "ignore"
    ]
    foreground = [(name, members) for name, members in named if set(members) != {0}]
    if model.labels.has_regions:
        order = model.labels.regions_class_order
        return tuple(
            Label(name=name, channel=index, value=int(order[index]), members=members)
            for index, (name, members) in enumerate(foreground)
        )
    return tuple(
        Label(name=name, channel=members[0], value=members[0], members=members)
        for name, members in sorted(foreground, key=lambda item: item[1])
    )


def preprocessing(model: ModelFolder) -> Preprocessing:
    """nnU-Net's DefaultPreprocessor with the plans' arguments."""
    configuration = model.configuration.configuration
    first, second, third = (int(axis) for axis in model.plans["transpose_forward"])
    return Preprocessing(
        transpose_forward=(first, second, third),
        spacing=tuple(float(size) for size in configuration["spacing"]),
        channels=tuple(_channel(model, index) for index in range(len(model.channel_names))),
        resampling_image=_resampling(configuration["resampling_fn_data_kwargs"]),
        resampling_logits=_resampling(configuration["resampling_fn_probabilities_kwargs"]),
        resampling_labels=_label_resampling(model),
    )


def tiling(model: ModelFolder) -> Tiling:
    """Patch and mirror axes; step and weighting are the predictor's defaults."""
    patch = tuple(int(size) for size in model.configuration.patch_size)
    return Tiling(patch_size=patch, mirror_axes=model.first.mirror_axes)


def channel_statistics(model: ModelFolder, index: int) -> dict[str, float]:
    """Intensity statistics of the training foreground, where the plans have them."""
    try:
        found = model.plans_manager.foreground_intensity_properties_per_channel.get(str(index), {})
    except KeyError:
        return {}
    return {key: float(found[key]) for key in _STATISTICS if key in found and math.isfinite(found[key])}


def fingerprint(model: ModelFolder) -> Fingerprint | None:
    """Sizes and spacings of the training images, where dataset_fingerprint.json is there.

    The fingerprint holds the axes as they are in the file, before any transposition.
    """
    content = model.fingerprint
    if not content or not content.get("spacings") or not content.get("shapes_after_crop"):
        return None
    spacings, shapes = (
        list(zip(*content["spacings"], strict=True)),
        list(zip(*content["shapes_after_crop"], strict=True)),
    )
    return Fingerprint(
        n_cases=len(content["spacings"]),
        spacing_min=_floats(min(axis) for axis in spacings),
        spacing_median=_floats(median(axis) for axis in spacings),
        spacing_max=_floats(max(axis) for axis in spacings),
        shape_min=tuple(int(min(axis)) for axis in shapes),
        shape_median=_floats(median(axis) for axis in shapes),
        shape_max=tuple(int(max(axis)) for axis in shapes),
    )


def _channel(model: ModelFolder, index: int) -> Channel:
    configuration = model.configuration
    return Channel(
        name=model.channel_names[index],
        normalization=Normalization(configuration.normalization_schemes[index]),
        use_mask=bool(configuration.use_mask_for_norm[index]),
        **channel_statistics(model, index),
    )


def _resampling(arguments: dict[str, Any]) -> Resampling:
    # absent arguments take the function's own defaults, which are not the planner's
    order: Literal[0, 1, 3] = arguments.get("order", 3)
    order_z: Literal[0, 1, 3] = arguments.get("order_z", 0)
    return Resampling(order=order, order_z=order_z, force_separate_z=arguments.get("force_separate_z", False))


def _label_resampling(model: ModelFolder) -> LabelResampling | None:
    """How the previous stage's mask is resampled; None outside of cascades."""
    if model.configuration.previous_stage_name is None:
        return None
    arguments = model.configuration.configuration["resampling_fn_seg_kwargs"]
    return LabelResampling(
        order=arguments.get("order", 3),
        order_z=arguments.get("order_z", 0),
        force_separate_z=arguments.get("force_separate_z", False),
    )


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def mean(values: list[float]) -> float | None:
    """Mean of the finite values; None without any.

    Example:
        >>> mean([0.5, float("nan"), 1.0]), mean([])
        (0.75, None)
    """
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else None
