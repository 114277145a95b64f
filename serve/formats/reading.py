"""A case's files to one image, voxel for voxel and spacing for spacing as nnU-Net's readers return it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.image import Geometry, Image
from nnunet_losses.serve.schema import Reader

from . import nibabel_volume, picture, tiff_volume, volume
from .dicom.reading import ENDINGS as SERIES_ENDINGS
from .dicom.reading import read_series
from .layout import times, unsupported
from .limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .integrity import Hash
    from .volume import Decoded

ENDINGS: Mapping[Reader, tuple[str, ...]] = {
    Reader.SIMPLE_ITK: volume.ENDINGS,
    Reader.SIMPLE_ITK_REORIENT: volume.ENDINGS,
    Reader.NIBABEL: nibabel_volume.ENDINGS,
    Reader.NIBABEL_REORIENT: nibabel_volume.ENDINGS,
    Reader.TIFF_3D: tiff_volume.ENDINGS,
    Reader.NATURAL_IMAGE_2D: picture.ENDINGS,
}
_READ: Mapping[Reader, Callable[..., Decoded]] = {
    Reader.SIMPLE_ITK: volume.read_volume,
    Reader.SIMPLE_ITK_REORIENT: partial(volume.read_volume, reorient=True),
    Reader.NIBABEL: nibabel_volume.read_nibabel,
    Reader.NIBABEL_REORIENT: partial(nibabel_volume.read_nibabel, reorient=True),
    Reader.TIFF_3D: tiff_volume.read_tiff_volume,
    Reader.NATURAL_IMAGE_2D: picture.read_picture,
}
# Readers whose models a DICOM series can be given to; those that turn every image turn it, too.
_SERIES_ORIENTATION: Mapping[Reader, str | None] = {
    Reader.SIMPLE_ITK: None,
    Reader.SIMPLE_ITK_REORIENT: volume.ORIENTATION,
    Reader.NIBABEL: None,
    Reader.NIBABEL_REORIENT: volume.ORIENTATION,
}
DISPLACEMENT_LIMIT = 1.0  # voxels by which the corners of two channels may lie apart


def read_image(
    files: Sequence[Path],
    reader: Reader,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    orientation: str | None = None,
) -> Image:
    """Check and read the files of one case.

    Args:
        files: one per channel, or one that holds all channels of a picture, in the channels' order. A DICOM
            series is a folder, a zip file or a multi-frame file.
        reader: which of nnU-Net's readers the model was trained with.
        limits: budgets, checked before anything is allocated.
        orientation: how the model's training images lay, for DICOM series; those are turned to it.

    Returns:
        The image: float32 (channels, z, y, x), spacing (z, y, x) in millimetres. One thing is told that
        nnU-Net does not get to see: of NIfTI files, voxels that are not finite are NaN here, and 0 there.

    Raises:
        Refusal: ``input.*`` and ``series.*`` for files that cannot be read or trusted,
            ``contract.geometry_mismatch`` for channels that do not lie on one grid.
    """
    digest = hashlib.sha256()
    decoded = [_read(file, reader, limits=limits, digest=digest, orientation=orientation) for file in files]
    if reader is Reader.TIFF_3D:
        decoded = tiff_volume.with_spacing(decoded, files[0], digest)
    names = [file.name for file in files]
    warnings = [warning for one in decoded for warning in one.warnings]
    for name, other in zip(names[1:], decoded[1:], strict=True):
        warnings += _compare((names[0], decoded[0]), (name, other))
    first = decoded[0]
    geometry = first.geometry
    if first.series is None:  # nnU-Net's SimpleITKIOWithReorient turns the mask as the last channel lay
        geometry = replace(geometry, orientation=decoded[-1].geometry.orientation)
    return Image(_stack(decoded), first.spacing, geometry, digest.hexdigest(), tuple(warnings), first.series)


def _read(file: Path, reader: Reader, *, limits: Limits, digest: Hash, orientation: str | None) -> Decoded:
    if is_series(file, reader):
        wanted = _SERIES_ORIENTATION[reader] or orientation
        return read_series(file, orientation=wanted, limits=limits, digest=digest)
    return _READ[reader](file, ending=ending_of(file, ENDINGS[reader]), limits=limits, digest=digest)


def is_series(file: Path, reader: Reader) -> bool:
    """Whether a file is read as a DICOM series: a folder, ``.zip`` or ``.dcm``, of a model of volumes.

    Example:
        >>> from pathlib import Path
        >>> is_series(Path("ct.zip"), Reader.SIMPLE_ITK), is_series(Path("ct.zip"), Reader.NATURAL_IMAGE_2D)
        (True, False)
    """
    name = file.name.lower()
    is_other = name.endswith(ENDINGS[reader])
    return reader in _SERIES_ORIENTATION and not is_other and (name.endswith(SERIES_ENDINGS) or file.is_dir())


def takes_series(reader: Reader) -> bool:
    """Whether a DICOM series can be given to a model of that reader.

    Example:
        >>> takes_series(Reader.NIBABEL), takes_series(Reader.NATURAL_IMAGE_2D)
        (True, False)
    """
    return reader in _SERIES_ORIENTATION


def accepted_endings(reader: Reader) -> tuple[str, ...]:
    """Endings of all files that can be given to a model of that reader.

    Example:
        >>> accepted_endings(Reader.NIBABEL)
        ('.nii.gz', '.nii', '.zip', '.dcm')
    """
    return ENDINGS[reader] + (SERIES_ENDINGS if reader in _SERIES_ORIENTATION else ())


def ending_of(file: Path, endings: Sequence[str]) -> str:
    """Which of the endings the file's name has, in lower case.

    Raises:
        Refusal: for another ending.

    Example:
        >>> from pathlib import Path
        >>> ending_of(Path("brain_0000.NII.GZ"), (".nii.gz", ".nii"))
        '.nii.gz'
    """
    name = file.name.lower()
    for ending in endings:
        if name.endswith(ending):
            return ending
    raise unsupported(
        file.name,
        "is not of a kind that this model reads.",
        remedy=f"Convert it to one of {', '.join(endings)}.",
        observed="".join(file.suffixes),
        expected=list(endings),
    )


def _stack(decoded: Sequence[Decoded]) -> NDArray[np.float32]:
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what does not fit becomes infinite, which is refused later
        return np.vstack([one.data for one in decoded], dtype=np.float32, casting="unsafe")


def _compare(first: tuple[str, Decoded], other: tuple[str, Decoded]) -> list[tuple[str, str]]:
    """Compare a channel with the first one: nnU-Net stops at shape and spacing, and prints the rest."""
    names = (first[0], other[0])
    one, two = first[1], other[1]
    if one.data.shape[1:] != two.data.shape[1:] or one.geometry.dimension != two.geometry.dimension:
        raise _mismatch(names, "sizes", one.data.shape[1:], two.data.shape[1:])
    if not np.allclose(one.geometry.spacing, two.geometry.spacing):
        raise _mismatch(names, "voxel spacings", one.spacing, two.spacing)
    same = np.allclose(one.geometry.origin, two.geometry.origin) and np.allclose(
        one.geometry.direction, two.geometry.direction
    )
    return [] if same else [_displacement_warning(names, one, two)]


def _displacement_warning(names: tuple[str, str], one: Decoded, two: Decoded) -> tuple[str, str]:
    distance = displacement(one.geometry, two.geometry, one.data.shape[1:])
    if distance > DISPLACEMENT_LIMIT:
        raise Refusal(
            Code.CONTRACT_GEOMETRY_MISMATCH,
            f"{names[0]} and {names[1]} show different places: they lie up to {distance:.3g} voxels apart.",
            remedy="Register the channels to one another, and resample them to one grid.",
            observed=round(distance, 3),
            expected={"voxels_at_most": DISPLACEMENT_LIMIT},
        )
    sentence = (
        f"{names[0]} and {names[1]} lie up to {distance:.2g} voxels apart; the first one's position was used."
    )
    return ("input.geometry_differs", sentence)


def displacement(one: Geometry, two: Geometry, shape: tuple[int, ...]) -> float:
    """Largest distance between corresponding corners, along an axis of the first, in its voxels."""
    corners = np.array(list(product(*((0, size - 1) for size in shape[::-1][: one.dimension]))), dtype=float)
    apart = _positions(corners, two) - _positions(corners, one)
    axes = np.array(one.direction).reshape(one.dimension, one.dimension)
    return float(np.abs(apart @ axes / np.array(one.spacing)).max())


def _positions(indices: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    axes = np.array(geometry.direction).reshape(geometry.dimension, geometry.dimension)
    placed: NDArray[np.float64] = (indices * np.array(geometry.spacing)) @ axes.T + np.array(geometry.origin)
    return placed


def _mismatch(names: tuple[str, str], what: str, one: Sequence[float], two: Sequence[float]) -> Refusal:
    return Refusal(
        Code.CONTRACT_GEOMETRY_MISMATCH,
        f"{names[0]} and {names[1]} have different {what}: {times(one)} and {times(two)} (z, y, x).",
        remedy="Resample all channels of the case to one grid.",
        observed=list(two),
        expected=list(one),
    )


def companions(files: Sequence[Path], reader: Reader) -> tuple[Path, ...]:
    """Further files that belong to a case, whether they exist or not: the spacing of a TIFF volume."""
    return (tiff_volume.spacing_file(files[0]),) if reader is Reader.TIFF_3D else ()


def read_mask(path: Path, *, reader: Reader | None = None) -> NDArray[np.int64]:
    """Read a mask file as integers (z, y, x), one slice for a picture.

    Args:
        path: the file.
        reader: as which of nnU-Net's readers; by default the one that belongs to the name's ending.

    Raises:
        Refusal: as ``read_image``.
    """
    if reader is None:
        endings = (*volume.ENDINGS, *picture.ENDINGS)
        is_volume = ending_of(path, endings) in volume.ENDINGS
        reader = Reader.SIMPLE_ITK if is_volume else Reader.NATURAL_IMAGE_2D
    mask: NDArray[np.int64] = read_image([path], reader=reader).data[0].astype(np.int64)
    return mask
