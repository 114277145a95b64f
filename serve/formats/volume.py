"""Volumes (NIfTI, NRRD, MetaImage, GIPL) as nnU-Net's SimpleITKIO reads them, checked before decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.image import Geometry

from .gipl import parse_gipl
from .integrity import GZIP_MAGIC, Hash, check_exists, check_whole, read_head
from .layout import REMEDY_EXPORT, Layout, check_dimensions, check_sizes, check_spacing, corrupt, unsupported
from .metaimage import parse_metaimage
from .nifti import Library, parse_nifti
from .nrrd import parse_nrrd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Series

    from .limits import Limits

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl")
ORIENTATION = "RAS"  # to which nnU-Net's SimpleITKIOWithReorient turns, in ITK's letters
ORTHONORMAL_TOLERANCE = 1e-3
FAKE_SPACING_FACTOR = 999  # nnU-Net's distance between the slices of a two-dimensional image
PIXEL_TYPES = frozenset(
    {
        sitk.sitkInt8,
        sitk.sitkUInt8,
        sitk.sitkInt16,
        sitk.sitkUInt16,
        sitk.sitkInt32,
        sitk.sitkUInt32,
        sitk.sitkInt64,
        sitk.sitkUInt64,
        sitk.sitkFloat32,
        sitk.sitkFloat64,
    }
)


@dataclass(frozen=True, eq=False)
class Decoded:
    """One file: voxels (channels, z, y, x) of the file's own type, spacing (z, y, x) as nnU-Net has it."""

    data: NDArray[Any]
    spacing: tuple[float, float, float]
    geometry: Geometry
    warnings: tuple[tuple[str, str], ...]
    series: Series | None = None


def read_volume(path: Path, *, ending: str, limits: Limits, digest: Hash, reorient: bool = False) -> Decoded:
    """Check a volume file to its last byte, then decode it.

    Args:
        path: the file.
        ending: which of ``ENDINGS`` its name has.
        limits: budgets for sizes.
        digest: receives the file's bytes.
        reorient: turn the volume to ``ORIENTATION``, as nnU-Net's SimpleITKIOWithReorient does.

    Raises:
        Refusal: with an ``input.*`` code for everything that is not a whole, real, scalar image of two or
            three dimensions with finite positive spacing and orthogonal axes.
    """
    check_exists(path, limits)
    layout = announced_layout(path, ending)
    whole = check_whole(path, layout, limits=limits, digest=digest)
    geometry = _geometry(path, layout)
    if reorient and geometry.dimension != 3:
        raise _flat(path.name, geometry)
    image = _decoded(path)
    if whole.non_finite.size:  # ITK made them 0: the contract shall see them
        image = _marked(image, whole.non_finite)
    if reorient:
        image, geometry = _turned(image)
    voxels = np.asarray(sitk.GetArrayFromImage(image))
    warnings = layout.warnings + whole.warnings
    return Decoded(voxels.reshape(1, *_spatial(voxels)), _array_spacing(geometry), geometry, warnings)


def announced_layout(path: Path, ending: str, library: Library = Library.ITK) -> Layout:
    """Read what a volume file's header announces.

    Raises:
        Refusal: for a file of another kind, and for whatever its header says that cannot be.
    """
    compressed = ending == ".nii.gz"
    if compressed:
        _check_gzip(path)
    head = read_head(path, compressed=compressed)
    if ending in (".nii", ".nii.gz"):
        return parse_nifti(path.name, head, compressed=compressed, library=library)
    parse = {".nrrd": parse_nrrd, ".mha": parse_metaimage, ".gipl": parse_gipl}[ending]
    return parse(path.name, head)


def _check_gzip(path: Path) -> None:
    magic = read_head(path, compressed=False)[:2]
    if magic != GZIP_MAGIC:
        raise unsupported(
            path.name,
            "is not a compressed NIfTI file, although its name ends in .nii.gz.",
            remedy="Send the image itself, under a name that says what it is.",
            observed=magic.hex(),
            expected=GZIP_MAGIC.hex(),
        )


def _geometry(path: Path, layout: Layout) -> Geometry:
    """Header as ITK understands it, without decoding a voxel."""
    sitk.ProcessObject.GlobalWarningDisplayOff()  # its warnings name paths; we say ourselves what matters
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _itk_refusal(path.name, error) from error
    check_sizes(path.name, reader.GetSize())
    _check_scalar(path.name, reader)
    check_dimensions(path.name, reader.GetSize())
    if _without_ones(reader.GetSize()) != _without_ones(layout.sizes):
        raise corrupt(path.name, "its header can be read in two ways.", observed=list(reader.GetSize()))
    geometry = Geometry(reader.GetDimension(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    check_spacing(path.name, geometry.spacing)
    _check_position(path.name, geometry)
    return geometry


def _without_ones(sizes: Sequence[int]) -> tuple[int, ...]:
    while sizes and sizes[-1] == 1:
        sizes = sizes[:-1]
    return tuple(sizes)


def _check_scalar(name: str, reader: Any) -> None:
    if reader.GetNumberOfComponents() == 1 and reader.GetPixelID() in PIXEL_TYPES:
        return
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    raise unsupported(
        name,
        f"holds {reader.GetNumberOfComponents()} values ({kind}) for each voxel.",
        remedy="Save one file with one number for each voxel for every channel.",
        observed=kind,
        expected="one real number for each voxel",
    )


def _check_position(name: str, geometry: Geometry) -> None:
    dimension = geometry.dimension
    axes = np.array(geometry.direction).reshape(dimension, dimension)
    if not (np.isfinite(axes).all() and np.isfinite(geometry.origin).all()):
        raise corrupt(
            name, "its position in space is not finite.", observed=[repr(v) for v in geometry.origin]
        )
    if np.abs(axes.T @ axes - np.eye(dimension)).max() > ORTHONORMAL_TOLERANCE:
        raise _sheared(name, observed=list(geometry.direction))


def _sheared(name: str, *, observed: Any = None) -> Refusal:
    return unsupported(
        name,
        "has axes that are not at right angles to one another (a tilted gantry, or a shearing registration).",
        remedy="Resample it to a regular grid first.",
        observed=observed,
        expected="orthogonal axes of unit length",
    )


def _itk_refusal(name: str, error: RuntimeError) -> Refusal:
    # ITK's message names the file's path, so only its kind is passed on
    # the file's length is right, so niftilib fails to load it only where memory fails it
    if any(sign in str(error).lower() for sign in ("allocat", "bad_alloc", "nifti_image_load failed")):
        raise MemoryError from error
    if "orthonormal" in str(error) or "determinant" in str(error):
        return _sheared(name)
    detail = f"{name} could not be decoded, although its header and its length are right."
    return Refusal(Code.INPUT_UNREADABLE, detail, remedy=REMEDY_EXPORT)


def _decoded(path: Path) -> Any:
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _itk_refusal(path.name, error) from error


def _marked(image: Any, non_finite: NDArray[np.intp]) -> Any:
    """Put NaN where ITK put 0."""
    voxels = sitk.GetArrayFromImage(image)
    voxels.ravel()[non_finite] = np.nan
    marked = sitk.GetImageFromArray(voxels)
    marked.CopyInformation(image)
    return marked


def _turned(image: Any) -> tuple[Any, Geometry]:
    """Turn an image to the standard orientation; its geometry then, with the orientation that it had."""
    had = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    turned = sitk.DICOMOrient(image, ORIENTATION)
    return turned, Geometry(
        3, turned.GetSpacing(), turned.GetOrigin(), turned.GetDirection(), orientation=had
    )


def _flat(name: str, geometry: Geometry) -> Refusal:
    return unsupported(
        name,
        "is a single slice, which has no orientation to turn.",
        remedy="Send a volume with three dimensions.",
        observed=geometry.dimension,
        expected=3,
    )


def _spatial(voxels: NDArray[Any]) -> tuple[int, ...]:
    return (1, *voxels.shape) if voxels.ndim == 2 else voxels.shape


def _array_spacing(geometry: Geometry) -> tuple[float, float, float]:
    if geometry.dimension == 2:
        x, y = geometry.spacing
        return max(x, y) * FAKE_SPACING_FACTOR, y, x
    x, y, z = geometry.spacing
    return z, y, x
