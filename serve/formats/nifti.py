"""NIfTI-1 headers, read strictly.

https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
"""

from __future__ import annotations

import math
import struct
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .layout import (
    Codec,
    Layout,
    Notes,
    check_dimensions,
    check_sizes,
    check_spacing,
    corrupt,
    times,
    truncated,
    unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_BYTES = 348
NIFTI_2_HEADER_BYTES = 540


class Library(StrEnum):
    """What decodes the file after these checks; the two understand doubtful headers differently."""

    ITK = "SimpleITK"
    NIBABEL = "NiBabel"


# the standard asks for 352; ITK reads nearer ones from 348 on, whatever they say
FIRST_VOXEL: Mapping[Library, int] = {Library.ITK: 348, Library.NIBABEL: 352}

SPACING_TOLERANCE = 0.01

# datatype code -> bytes of a voxel
FLOATING: Mapping[int, str] = {16: "f4", 64: "f8"}  # datatype code -> NumPy type
SCALARS: Mapping[int, int] = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8}
OTHERS: Mapping[int, str] = {
    1: "single bits",
    32: "complex numbers",
    128: "RGB colours",
    1536: "128-bit numbers",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "RGBA colours",
}
FIELDS = "40x8h14x2h2x8f3f"  # dim, datatype, bitpix, pixdim, vox_offset, scl_slope, scl_inter
TRANSFORM = "252x2h6f12f16x4s"  # qform_code, sform_code, quaternion and offset, rows, magic


def parse_nifti(name: str, head: bytes, *, compressed: bool, library: Library = Library.ITK) -> Layout:
    """Read the header of a single-file NIfTI-1 image of either byte order.

    Args:
        name: the file's base name, for messages.
        head: the first 348 bytes (unpacked) or more.
        compressed: whether the file is gzipped.
        library: what will decode it.

    Raises:
        Refusal: for whatever is not a real, scalar, finite, two- or three-dimensional image.
    """
    order = _byte_order(name, head)
    values = struct.unpack_from(order + FIELDS, head)
    dim, datatype, bitpix = values[:8], values[8], values[9]
    pixdim, (offset, slope, intercept) = values[10:18], values[18:21]
    transform = struct.unpack_from(order + TRANSFORM, head)
    _check_transform(name, transform)
    sizes = _sizes(name, dim) if library is Library.ITK else _three_sizes(name, dim)
    voxel_bytes = _voxel_bytes(name, datatype, bitpix)
    check_spacing(name, pixdim[1 : 1 + len(sizes)])
    _check_scaling(name, offset, slope, intercept, first_voxel=FIRST_VOXEL[library])
    itk = library is Library.ITK
    return Layout(
        sizes=sizes,
        voxel_bytes=voxel_bytes,
        codec=Codec.DEFLATE if compressed else Codec.NONE,
        packed_at=0,
        voxels_at=int(offset),
        warnings=(
            *_scaling_warnings(name, slope, intercept, is_added=itk),
            *(_spacing_warnings(name, pixdim[1 : 1 + len(sizes)], transform) if itk else ()),
        ),
        floating=order + FLOATING[datatype] if datatype in FLOATING else None,
    )


def _byte_order(name: str, head: bytes) -> str:
    if len(head) < HEADER_BYTES:
        raise truncated(name, len(head), HEADER_BYTES)
    sizes = {order: struct.unpack_from(order + "i", head)[0] for order in "<>"}
    for order, size in sizes.items():
        if size == HEADER_BYTES:
            return order
        if size == NIFTI_2_HEADER_BYTES:
            raise unsupported(
                name,
                "is a NIfTI-2 file, which is not read here (of nnU-Net's readers, only NiBabel's do).",
                remedy="Save it as NIfTI-1.",
                observed="NIfTI-2",
                expected="NIfTI-1",
            )
    raise unsupported(
        name,
        "is not a NIfTI file, although its name says so.",
        remedy="Send the image itself, under a name that says what it is.",
        observed={"sizeof_hdr": sizes["<"]},
        expected={"sizeof_hdr": HEADER_BYTES},
    )


def _check_transform(name: str, values: tuple[Any, ...]) -> None:
    qform, sform, quaternion, rows, magic = values[0], values[1], values[2:8], values[8:20], values[20]
    if magic != b"n+1\0":
        raise unsupported(
            name,
            "is not a NIfTI file with header and voxels in one.",
            remedy="Save header and voxels together as .nii or .nii.gz.",
            observed=magic.decode("latin-1"),
            expected="n+1",
        )
    used = rows if sform > 0 else quaternion if qform > 0 else ()
    if not all(map(math.isfinite, used)):
        raise corrupt(name, "its position in space is not finite.", observed=[repr(value) for value in used])


def _sizes(name: str, dim: tuple[int, ...]) -> tuple[int, ...]:
    if not 1 <= dim[0] <= 7:
        raise corrupt(name, f"its header announces {dim[0]} dimensions.", observed=dim[0], expected="1 to 7")
    sizes = dim[1 : 1 + dim[0]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]  # as ITK does
    check_sizes(name, sizes)
    check_dimensions(name, sizes)
    return sizes


def _three_sizes(name: str, dim: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes as nnU-Net's NibabelIO takes them: exactly three, even if a fourth is 1."""
    sizes = dim[1 : 1 + dim[0]] if 1 <= dim[0] <= 7 else ()
    check_sizes(name, sizes)
    if len(sizes) != 3:
        raise unsupported(
            name,
            f"has {len(sizes)} dimensions ({times(sizes)}); this model's reader takes three.",
            remedy="Send one volume with three dimensions for each channel.",
            observed=list(sizes),
            expected="3 dimensions",
        )
    return sizes


def _voxel_bytes(name: str, datatype: int, bitpix: int) -> int:
    if datatype in OTHERS:
        raise unsupported(
            name,
            f"holds {OTHERS[datatype]} instead of one grey value for each voxel.",
            remedy="Save one file with one number for each voxel for every channel.",
            observed=OTHERS[datatype],
            expected="one real number for each voxel",
        )
    if datatype not in SCALARS:
        raise corrupt(
            name, f"its voxel type {datatype} does not exist.", observed=datatype, expected=sorted(SCALARS)
        )
    if bitpix not in (0, 8 * SCALARS[datatype]):  # ITK ignores it, so some writers leave it empty
        raise corrupt(
            name,
            "the width of its voxels contradicts their type.",
            observed=bitpix,
            expected=8 * SCALARS[datatype],
        )
    return SCALARS[datatype]


def _check_scaling(name: str, offset: float, slope: float, intercept: float, *, first_voxel: int) -> None:
    if not all(map(math.isfinite, (slope, intercept))):
        raise corrupt(
            name,
            "its scaling of grey values is not finite.",
            observed={"slope": repr(slope), "intercept": repr(intercept)},
            expected="finite numbers",
        )
    if not (math.isfinite(offset) and offset >= first_voxel and offset == int(offset)):
        raise corrupt(
            name,
            f"its voxels are said to begin at byte {offset:g}.",
            observed=repr(offset),
            expected=f"a whole number of at least {first_voxel}",
        )


def _scaling_warnings(name: str, slope: float, intercept: float, *, is_added: bool) -> Notes:
    if slope != 0 or intercept == 0:
        return ()
    done = "added all the same" if is_added else "ignored"
    sentence = (
        f"{name} has a scaling slope of 0, which by the NIfTI standard means no scaling; "
        f"its intercept {intercept:g} was {done}, as nnU-Net does."
    )
    return (("input.scaling_repaired", sentence),)


def _spacing_warnings(name: str, spacing: tuple[float, ...], transform: tuple[Any, ...]) -> Notes:
    """Compare the two places where a header can say how large the voxels are."""
    sform, rows = transform[1], transform[8:20]
    steps = tuple(math.hypot(*rows[axis::4]) for axis in range(len(spacing)))
    pairs = zip(spacing, steps, strict=True)
    if sform <= 0 or all(math.isclose(*pair, rel_tol=SPACING_TOLERANCE) for pair in pairs):
        return ()
    sentence = (
        f"{name} contradicts itself: its voxels are {times(spacing)} mm large by its spacing, but "
        f"{times(steps)} mm by its position in space; the spacing was used, as nnU-Net does."
    )
    return (("input.spacing_contradictory", sentence),)
