"""TIFF volumes as nnU-Net's Tiff3DIO reads them, with their spacing in a JSON file beside them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from nnunet_losses.serve.image import Geometry

from .integrity import Hash, check_exists, read_chunks
from .layout import Notes, check_spacing, corrupt, unsupported
from .metaimage import spacing_missing
from .tiff import MAGIC, check_magic, open_tiff
from .volume import Decoded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .limits import Limits

ENDINGS = (".tif", ".tiff")
LARGEST_SPACING_FILE = 2**20  # bytes
_CHANNEL = re.compile(r"_\d{4}$")
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def read_tiff_volume(path: Path, *, ending: str, limits: Limits, digest: Hash) -> Decoded:
    """Check a TIFF file to its last page, then decode it; its spacing is 1 until ``with_spacing``.

    Args:
        path: the file.
        ending: which of ``ENDINGS`` its name has.
        limits: budgets for sizes.
        digest: receives the file's bytes.

    Raises:
        Refusal: with an ``input.*`` code for everything that is not one whole grey volume.
    """
    check_exists(path, limits)
    check_magic(path, ending, MAGIC)
    for chunk in read_chunks(path):
        digest.update(chunk)
    with open_tiff(path, limits) as file:
        _check_volume(path.name, file)
        voxels = np.asarray(file.asarray())
        further = len(file.series) - 1
    return Decoded(voxels[None], (1.0, 1.0, 1.0), _geometry((1.0, 1.0, 1.0)), _further(path.name, further))


def with_spacing(decoded: Sequence[Decoded], first: Path, digest: Hash) -> list[Decoded]:
    """Give all channels of a case the spacing that stands in ``CASE.json`` beside its first file.

    Args:
        decoded: the channels.
        first: file of the first channel, ``CASE_0000.tif``.
        digest: receives the bytes of the JSON file, where there is one.

    Raises:
        Refusal: INPUT_CORRUPT for a file that does not give three finite, positive numbers.
    """
    file = spacing_file(first)
    if file.is_file():
        spacing, warnings = _read_spacing(file, digest), Notes()
    else:
        spacing, warnings = (1.0, 1.0, 1.0), (spacing_missing(first.name),)
    spaced = [replace(one, spacing=spacing, geometry=_geometry(spacing)) for one in decoded]
    return [replace(spaced[0], warnings=(*spaced[0].warnings, *warnings)), *spaced[1:]]


def spacing_file(first: Path) -> Path:
    """Where nnU-Net looks for a case's spacing: the file's name without channel number, as JSON.

    Example:
        >>> from pathlib import Path
        >>> spacing_file(Path("cells_0000.tif")).name
        'cells.json'
    """
    return first.with_name(_CHANNEL.sub("", first.name[: first.name.rindex(".")]) + ".json")


def _read_spacing(file: Path, digest: Hash) -> tuple[float, float, float]:
    if file.stat().st_size > LARGEST_SPACING_FILE:
        raise corrupt(file.name, "it is too large for a file that gives a voxel spacing.")
    content = b"".join(read_chunks(file))
    digest.update(content)
    try:
        z, y, x = (float(value) for value in json.loads(content)["spacing"])
    except (ValueError, KeyError, TypeError) as error:
        what = 'it does not give the voxel spacing as {"spacing": [z, y, x]}.'
        raise corrupt(file.name, what, expected="three numbers in millimetres") from error
    check_spacing(file.name, (z, y, x))
    return z, y, x


def _check_volume(name: str, file: tifffile.TiffFile) -> None:
    series = file.series[0]
    page: Any = file.pages.first
    if page.samplesperpixel != 1 or len(series.shape) == 2:
        what = "is a single picture" if page.samplesperpixel == 1 else "is a picture in colours"
        raise unsupported(
            name,
            f"{what}; this model looks at volumes.",
            remedy="Save the volume as one file with its slices as grey pages.",
            observed=list(series.shape),
            expected="three dimensions, one value for each voxel",
        )
    if len(series.shape) != 3:
        raise unsupported(
            name,
            f"has {len(series.shape)} dimensions.",
            remedy="Save one file with three dimensions for each channel or time point.",
            observed=list(series.shape),
            expected="three dimensions",
        )
    if series.dtype is None or series.dtype.kind not in "biuf":
        raise unsupported(name, f"holds voxels of the type {series.dtype}.", remedy="Save grey values.")


def _further(name: str, count: int) -> Notes:
    if not count:
        return ()
    sentence = f"{name} holds {count} more image{'s'[: count > 1]}; the first was read, as nnU-Net does."
    return (("input.further_images", sentence),)


def _geometry(spacing: tuple[float, float, float]) -> Geometry:
    return Geometry(3, spacing[::-1], (0.0, 0.0, 0.0), _IDENTITY)


def write_tiff_volume(voxels: NDArray[Any], path: Path) -> None:
    """Write (z, y, x) as Tiff3DIO does."""
    tifffile.imwrite(path, data=voxels, compression="zlib")
