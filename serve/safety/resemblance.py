"""Whether an image is far from the training images, by rules of thumb: hints, not a calibrated judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.answer import Warning_
from nnunet_losses.serve.schema import Normalization

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Channel, Fingerprint, ModelDescription

SPACING_FACTOR = 2.0  # beyond the training images' smallest and largest spacing
EXTENT_FACTOR = 2.0  # beyond their smallest and largest extent
# The image's contrast against the foreground's in training. Where normalisation takes the scale out, only
# different units are worth a word.
CONTRAST_FACTORS: Mapping[Normalization, float] = {
    Normalization.CT: 10.0,
    Normalization.NONE: 10.0,
    Normalization.RGB_0_1: 10.0,
    Normalization.Z_SCORE: 1000.0,
    Normalization.RESCALE_0_1: 1000.0,
}
SCALE_FREE = (Normalization.Z_SCORE, Normalization.RESCALE_0_1)
SAMPLED_VOXELS = 1_000_000
AXES = ("z", "y", "x")


def resemblance_warnings(image: Image, description: ModelDescription) -> tuple[Warning_, ...]:
    """Compare spacing, extent and intensities with what the bundle says of the training images.

    Args:
        image: with finite values.
        description: of the model; what it does not say is not compared.
    """
    warnings: list[Warning_] = []
    if description.fingerprint is not None:
        warnings += _grid_warnings(image, description.fingerprint)
    channels = description.members[0].preprocessing.channels
    for voxels, channel in zip(image.data, channels, strict=True):
        warnings += _intensity_warnings(voxels, channel)
    return tuple(warnings)


def _grid_warnings(image: Image, fingerprint: Fingerprint) -> Iterator[Warning_]:
    is_flat, trained_flat = image.geometry.dimension == 2, fingerprint.shape_max[0] == 1
    if trained_flat and not is_flat:
        yield Warning_(
            code="input.dimensions_unusual",
            message="The image is a volume; the model was trained with pictures, and looks at slices alone.",
            observed=3,
            expected=2,
        )
    axes = range(1 if is_flat or trained_flat else 0, 3)
    yield from _spacing_warnings(image.spacing, fingerprint, axes)
    yield from _extent_warnings(image, fingerprint, axes)


def _spacing_warnings(
    spacing: Sequence[float], fingerprint: Fingerprint, axes: Sequence[int]
) -> Iterator[Warning_]:
    low, high = fingerprint.spacing_min, fingerprint.spacing_max
    far = [a for a in axes if not low[a] / SPACING_FACTOR <= spacing[a] <= high[a] * SPACING_FACTOR]
    if far:
        sentence = (
            f"The voxels are {_list(spacing, far)} mm large; those of the training images were "
            f"{_ranges(low, high, far)} mm. The answer may be worse than usual."
        )
        yield Warning_(
            code="input.spacing_unusual",
            message=sentence,
            observed=list(spacing),
            expected={"smallest": list(low), "largest": list(high), "factor": SPACING_FACTOR},
        )


def _extent_warnings(image: Image, fingerprint: Fingerprint, axes: Sequence[int]) -> Iterator[Warning_]:
    extent = np.multiply(image.shape, image.spacing).tolist()
    low = np.multiply(fingerprint.shape_min, fingerprint.spacing_min).tolist()
    high = np.multiply(fingerprint.shape_max, fingerprint.spacing_max).tolist()
    unit = "pixels" if image.geometry.spacing == (1.0, 1.0) else "mm"  # pictures have no millimetres
    far = [a for a in axes if not low[a] / EXTENT_FACTOR <= extent[a] <= high[a] * EXTENT_FACTOR]
    if far:
        sentence = (
            f"The image is {_list(extent, far)} {unit} large; the training images were "
            f"{_ranges(low, high, far)} {unit}. It may show more, or less, than the model knows."
        )
        yield Warning_(
            code="input.extent_unusual",
            message=sentence,
            observed=extent,
            expected={"smallest": low, "largest": high, "factor": EXTENT_FACTOR},
        )


def _list(values: Sequence[float], axes: Sequence[int]) -> str:
    return ", ".join(f"{values[axis]:.3g} ({AXES[axis]})" for axis in axes)


def _ranges(low: Sequence[float], high: Sequence[float], axes: Sequence[int]) -> str:
    return ", ".join(f"{low[axis]:.3g} to {high[axis]:.3g} ({AXES[axis]})" for axis in axes)


def _intensity_warnings(voxels: NDArray[np.float32], channel: Channel) -> Iterator[Warning_]:
    """Compare the image's central 99 % with the foreground's in training: another unit or modality?"""
    trained = (channel.percentile_00_5, channel.percentile_99_5)
    if trained[0] is None or trained[1] is None or trained[0] >= trained[1]:
        return
    step = max(1, voxels.size // SAMPLED_VOXELS)
    low, high = (float(value) for value in np.percentile(voxels.ravel()[::step], (0.5, 99.5)))
    contrast, usual = max(high - low, float(voxels.max() - voxels.min()) / 1000), trained[1] - trained[0]
    factor = CONTRAST_FACTORS[channel.normalization]
    apart = channel.normalization not in SCALE_FREE and (high < trained[0] or low > trained[1])
    if apart or contrast < usual / factor or contrast > usual * max(factor, 100.0):
        yield _intensity_warning(channel, (low, high), (trained[0], trained[1]), factor)


def _intensity_warning(
    channel: Channel, observed: tuple[float, float], trained: tuple[float, float], factor: float
) -> Warning_:
    expected: dict[str, Any] = {"foreground_in_training": list(trained), "contrast_factor": factor}
    sentence = (
        f"The channel {channel.name} has intensities from {observed[0]:.4g} to {observed[1]:.4g}; the "
        f"structures in the training images had {trained[0]:.4g} to {trained[1]:.4g}. "
        "Unit, scaling or modality may be different."
    )
    return Warning_(
        code="input.intensity_unusual", message=sentence, observed=list(observed), expected=expected
    )
