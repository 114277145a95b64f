"""Masks and answers to files, byte for byte as nnU-Net writes masks, and never half a file."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import nibabel
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses
import tifffile
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from nnunet_losses.serve.schema import Reader

from .tiff_volume import write_tiff_volume
from .turning import own_grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Geometry


def write_mask(mask: NDArray[Any], path: Path, *, geometry: Geometry, reader: Reader) -> None:
    """Write a mask as nnU-Net's writer does: the same mask gives the same bytes.

    Args:
        mask: integers (z, y, x) as the image was read, one slice for two-dimensional files. What the reader
            turned is turned back.
        path: where to; the name's ending chooses the format.
        geometry: the input file's, which the mask takes over.
        reader: which of nnU-Net's readers and writers the model belongs to.

    Raises:
        OSError: where the folder cannot be written to.
    """
    voxels = np.ascontiguousarray(mask[0] if geometry.dimension == 2 else mask)
    voxels = voxels.astype(np.uint8 if voxels.max() < 255 else np.uint16, copy=False)
    with replacing(path) as temporary:
        if geometry.turned_to is not None:
            write_volume(*own_grid(voxels, geometry), temporary)
        elif reader in (Reader.SIMPLE_ITK, Reader.SIMPLE_ITK_REORIENT):
            _write_volume(voxels, temporary, geometry)
        elif reader in (Reader.NIBABEL, Reader.NIBABEL_REORIENT):
            _write_nibabel(voxels, temporary, geometry, reorient=reader is Reader.NIBABEL_REORIENT)
        elif reader is Reader.TIFF_3D:
            write_tiff_volume(voxels, temporary)
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


def write_volume(voxels: NDArray[Any], geometry: Geometry, path: Path) -> None:
    """Write (z, y, x) or (y, x) where the geometry places it, packed; the name's ending is the format."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_volume(voxels: NDArray[Any], path: Path, geometry: Geometry) -> None:
    if geometry.orientation is not None:
        # nnU-Net's SimpleITKIOWithReorient always writes 8 bits, so that its label 300 becomes another's, 44
        voxels = voxels.astype(np.uint8 if voxels.max() < 256 else np.uint16, copy=False)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    if geometry.orientation is not None:
        image = sitk.DICOMOrient(image, geometry.orientation)
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_nibabel(voxels: NDArray[Any], path: Path, geometry: Geometry, *, reorient: bool) -> None:
    assert geometry.affine is not None, "NiBabel's readers give it"
    affine = np.array(geometry.affine).reshape(4, 4)
    turned_axes = io_orientation(affine)
    if reorient:  # the affine of the voxels as they were read, and then back
        sizes = [voxels.shape[::-1][int(axis)] for axis in turned_axes[:, 0]]
        image = nibabel.Nifti1Image(voxels.T, affine @ inv_ornt_aff(turned_axes, sizes))
        image = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), turned_axes))
    else:
        image = nibabel.Nifti1Image(voxels.T, affine)
    nibabel.save(image, path)
