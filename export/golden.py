"""The self-test's data: a procedural image, and what nnU-Net and PyTorch make of it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.schema import Golden, Normalization, Reader

from . import description
from .reference import Reference, tiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import KeepLargest

    from .members import MemberFolder
    from .model_folder import ModelFolder

_CANDIDATES = 4
_SAMPLED_VOXELS = 65536  # whose logits are kept: all of them would be hundreds of megabytes for a large head
_TWO_TILES_BELOW = 64**3  # voxels of a patch that is cheap enough to test stitching with


def write_golden(members: Sequence[MemberFolder], steps: Sequence[KeepLargest], folder: Path) -> Golden:
    """Write ``golden/``: input files, expected mask, first tile of the first member and its logits.

    Args:
        members: of the bundle.
        steps: of its postprocessing.
        folder: the bundle's folder.
    """
    target = folder / "golden"
    target.mkdir()
    reference, source = Reference(members, steps), _source(members)
    inputs, tile, logits = _most_informative(source, reference, target)
    mask = target / f"mask{source.dataset['file_ending']}"
    with reference.case(inputs) as case:
        mask.write_bytes(case.mask().read_bytes())
    np.save(target / "tile_input.npy", tile)
    stride = math.ceil(logits[0, 0].size / _SAMPLED_VOXELS)
    np.save(target / "tile_logits.npy", logits[0].reshape(logits.shape[1], -1)[:, ::stride])
    return Golden(
        inputs=tuple(path.relative_to(folder).as_posix() for path in inputs),
        mask=mask.relative_to(folder).as_posix(),
        tile_input="golden/tile_input.npy",
        tile_logits="golden/tile_logits.npy",
        logits_stride=stride,
    )


def _source(members: Sequence[MemberFolder]) -> ModelFolder:
    """Choose the model for whose grid the image is drawn: the first that looks at volumes, if any does."""
    models = [member.model for member in members if member.averaged]
    return next((model for model in models if len(model.configuration.patch_size) == 3), models[0])


def _most_informative(
    source: ModelFolder, reference: Reference, target: Path
) -> tuple[list[Path], NDArray[np.float32], NDArray[np.float32]]:
    """Draw a few images, keep the one whose first tile shows most labels."""
    best = -1.0
    for seed in range(_CANDIDATES):
        image = procedural_image(source, seed)
        tile, logits = _first_tile(reference, write_image(source, image, target))
        score = _information(logits, is_softmax=not source.labels.has_regions)
        if score > best:
            best, chosen = score, (image, tile, logits)
        if best >= 1:
            break
    return write_image(source, chosen[0], target), chosen[1], chosen[2]


def _first_tile(reference: Reference, inputs: list[Path]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import torch  # noqa: PLC0415

    first = reference.members[0].name
    predictor = reference.predictors[first]
    with reference.case(inputs) as case:
        data, _ = case.network_input(first)
    _, tile = next(tiles(predictor, data))
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    predictor.network.eval()
    with torch.no_grad():
        return tile.numpy(), predictor.network(tile).numpy()


def _information(logits: NDArray[np.float32], *, is_softmax: bool) -> float:
    """Score a mask between 0 and 1: the share of heads that win in more than a few voxels."""
    heads = logits.shape[1]
    if is_softmax:
        counts = np.bincount(logits[0].argmax(0).ravel(), minlength=heads)
    else:
        positive = (logits[0] > 0).reshape(heads, -1).sum(1)
        counts = np.minimum(positive, logits[0, 0].size - positive)
    clearly, at_all = counts >= max(4, logits[0, 0].size // 1000), counts > 0
    return 0.9 * float(clearly.mean()) + 0.1 * float(at_all.mean())


def procedural_image(model: ModelFolder, seed: int) -> NDArray[np.float32]:
    """Draw ellipsoids on a smooth background, in the training's intensities, with an empty margin.

    Returns:
        float32 (channels, z, y, x) as the reader would return it, at the plan's spacing.
    """
    generator = np.random.default_rng(seed)
    shape = _network_shape(model)
    pattern = _pattern(shape, seed=seed)
    image = np.stack([_intensities(model, c, pattern, generator) for c in range(len(model.channel_names))])
    image[:, _margin(shape)] = 0
    backward = [axis + 1 for axis in model.plans["transpose_backward"]]
    return image.transpose(0, *backward).astype(np.float32)


def write_image(model: ModelFolder, image: NDArray[np.float32], target: Path) -> list[Path]:
    """Write an image in the model's file format, named as nnU-Net wants it."""
    ending = model.dataset["file_ending"]
    if model.plans["image_reader_writer"] == Reader.NATURAL_IMAGE_2D:
        return _write_pictures(image, target, ending)
    paths = []
    for index, channel in enumerate(image):
        paths.append(target / f"case_{index:04d}{ending}")
        _write_volume(model, channel, paths[-1])
    if model.plans["image_reader_writer"] == Reader.TIFF_3D:
        paths[0].with_name("case.json").write_text(json.dumps({"spacing": _file_spacing(model)}))
    return paths


def _network_shape(model: ModelFolder) -> tuple[int, ...]:
    """Choose a shape in the network's axes: one tile, or two where a tile is cheap."""
    patch = [int(size) for size in model.configuration.patch_size]
    longest = int(np.argmax(patch))
    if math.prod(patch) <= _TWO_TILES_BELOW:
        patch[longest] += max(1, patch[longest] // 4)
    slices = () if len(patch) == 3 else ((1,) if has_flat_images(model) else (2,))
    return (*slices, *patch)


def has_flat_images(model: ModelFolder) -> bool:
    """Whether the files are pictures of two dimensions, and not volumes."""
    reader = model.plans["image_reader_writer"]
    if reader == Reader.NATURAL_IMAGE_2D:
        return True
    if reader != Reader.SIMPLE_ITK:  # the others read volumes alone
        return False
    shapes = (model.fingerprint or {}).get("shapes_after_crop") or []
    return (
        len(model.configuration.patch_size) == 2 and bool(shapes) and all(shape[0] == 1 for shape in shapes)
    )


def _pattern(shape: tuple[int, ...], *, seed: int) -> NDArray[np.float64]:
    """Draw structures between about -2 and 2 standard deviations."""
    from scipy.ndimage import gaussian_filter  # noqa: PLC0415

    generator = np.random.default_rng([seed, 1])
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    texture = gaussian_filter(generator.normal(size=shape), [max(size / 12, 0.5) for size in shape])
    pattern = texture / max(texture.std(), 1e-12) * 0.3 - 0.5
    for level in generator.permutation([2.0, 1.2, 0.4, -1.5]):
        centre = generator.uniform(-0.5, 0.5, len(shape)).reshape(-1, *[1] * len(shape))
        radii = generator.uniform(0.2, 0.7, len(shape)).reshape(-1, *[1] * len(shape))
        pattern[(((grid - centre) / radii) ** 2).sum(0) < 1] += level
    drawn: NDArray[np.float64] = pattern + generator.normal(scale=0.05, size=shape)
    return drawn


def _intensities(
    model: ModelFolder, channel: int, pattern: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Bring the pattern into the value range of the training images."""
    known = description.channel_statistics(model, channel)
    low, high = known.get("percentile_00_5", 0.0), known.get("percentile_99_5", 255.0)
    mean, deviation = known.get("mean", 100.0), known.get("std", 40.0)
    values = mean + deviation * generator.uniform(0.8, 1.2) * pattern
    clipped = np.clip(values, low, high) if high > low else values
    return np.asarray(np.clip(clipped, 0, 255) if _is_rgb(model, channel) else clipped)


def _is_rgb(model: ModelFolder, channel: int) -> bool:
    pictures = model.plans["image_reader_writer"] == Reader.NATURAL_IMAGE_2D
    return bool(pictures or model.configuration.normalization_schemes[channel] == Normalization.RGB_0_1)


def _margin(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mark an empty border on one side of every axis that is long enough: cropping has something to do."""
    margin = np.zeros(shape, bool)
    for axis, size in enumerate(shape):
        if size >= 16:
            margin[(slice(None),) * axis + (slice(0, 2),)] = True
    return margin


def _write_volume(model: ModelFolder, channel: NDArray[np.float32], path: Path) -> None:
    import SimpleITK as sitk  # noqa: N813, PLC0415
    import tifffile  # noqa: PLC0415

    whole_numbers = float(np.ptp(channel)) >= 100
    voxels = np.rint(channel).astype(np.int16) if whole_numbers and np.abs(channel).max() < 32767 else channel
    if model.plans["image_reader_writer"] == Reader.TIFF_3D:
        tifffile.imwrite(path, voxels, photometric="minisblack")
        return
    flat = has_flat_images(model)
    image = sitk.GetImageFromArray(voxels[0] if flat else voxels)
    spacing = _file_spacing(model)[1:] if flat else _file_spacing(model)
    image.SetSpacing([float(size) for size in reversed(spacing)])
    image.SetOrigin([10.0, -20.0, 30.0][: image.GetDimension()])
    sitk.WriteImage(image, str(path), True)  # noqa: FBT003 - compressed


def _file_spacing(model: ModelFolder) -> list[float]:
    """Plan's spacing in the file's axis order; a 2D plan leaves the slice distance to the training images."""
    spacing = [float(size) for size in model.configuration.spacing]
    if len(spacing) == 2:
        slices = model.plans["transpose_forward"][0]
        trained = description.fingerprint(model)
        distance = trained.spacing_median[slices] if trained else max(spacing)
        spacing = [distance, *spacing]
    return [spacing[axis] for axis in model.plans["transpose_backward"]]


def _write_pictures(image: NDArray[np.float32], target: Path, ending: str) -> list[Path]:
    import imageio.v3 as imageio  # noqa: PLC0415

    pixels = np.rint(np.clip(image[:, 0], 0, 255)).astype(np.uint8)
    is_colour = len(pixels) == 3  # then nnU-Net reads all channels from one file
    pictures = [pixels.transpose(1, 2, 0)] if is_colour else list(pixels)
    paths = [target / f"case_{index:04d}{ending}" for index in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        imageio.imwrite(path, picture)
    return paths
