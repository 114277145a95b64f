"""Masks and answers to files, byte for byte as nnU-Net writes masks, and never half a file."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses
import tifffile

from nnunet_losses.serve.schema import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Geometry


def write_mask(mask: NDArray[Any], path: Path, *, geometry: Geometry, reader: Reader) -> None:
    """Write a mask as nnU-Net's writer does: the same mask gives the same bytes.

    Args:
        mask: integers (z, y, x), one slice for two-dimensional files.
        path: where to; the name's ending chooses the format.
        geometry: the input file's, which the mask takes over.
        reader: which of nnU-Net's readers and writers the model belongs to.

    Raises:
        OSError: where the folder cannot be written to.
    """
    voxels = np.ascontiguousarray(mask[0] if geometry.dimension == 2 else mask)
    voxels = voxels.astype(np.uint8 if voxels.max() < 255 else np.uint16, copy=False)
    with replacing(path) as temporary:
        if reader is Reader.SIMPLE_ITK:
            _write_volume(voxels, temporary, geometry)
        elif path.suffix.lower() in (".tif", ".tiff"):
            tifffile.imwrite(temporary, voxels)
        else:
            iio.imwrite(temporary, voxels)


def write_text(text: str, path: Path) -> None:
    """Write a text file in UTF-8; whoever reads it sees the whole text, or what stood there before."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; on success it takes its place, else it vanishes."""
    temporary = path.with_name(f".{secrets.token_hex(8)}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 - one word for what is meant
    finally:
        temporary.unlink(missing_ok=True)


def _write_volume(voxels: NDArray[Any], path: Path, geometry: Geometry) -> None:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    sitk.WriteImage(image, str(path), useCompression=True)
