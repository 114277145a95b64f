"""Image files for tests: good ones by SimpleITK and nibabel, and ways to damage them."""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.errors import Code

# offsets of NIfTI-1 header fields
DIM, DATATYPE, BITPIX, PIXDIM, VOX_OFFSET, SCL_SLOPE, SCL_INTER = 40, 70, 72, 76, 108, 112, 116
QFORM_CODE, SROW, MAGIC = 252, 280, 344


def noise(shape: Sequence[int] = (5, 6, 7), dtype: str = "float32", seed: int = 0) -> NDArray[Any]:
    """Voxels (z, y, x) with content."""
    return (np.random.default_rng(seed).normal(50, 20, shape)).astype(dtype)


def write(path: Path, voxels: NDArray[Any], *, compress: bool = False, **geometry: Sequence[float]) -> Path:
    """Write voxels with SimpleITK; ``geometry`` may set spacing, origin and direction."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(geometry.get("spacing", (0.5, 0.75, 2.0)[: voxels.ndim]))
    image.SetOrigin(geometry.get("origin", (-3.0, 4.5, 10.0)[: voxels.ndim]))
    if "direction" in geometry:
        image.SetDirection(geometry["direction"])
    sitk.WriteImage(image, str(path), useCompression=compress)
    return path


def rotation(degrees: float) -> tuple[float, ...]:
    """Direction of a volume that is turned about z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0)


def patch(path: Path, offset: int, form: str, *values: Any) -> Path:
    """Overwrite bytes of an uncompressed file."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, offset, *values)
    path.write_bytes(data)
    return path


def cut(path: Path, keep: float) -> Path:
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def flip_bit(path: Path, where: float) -> Path:
    """Flip one bit somewhere in a file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 0x10
    path.write_bytes(data)
    return path


def compressed(path: Path) -> Path:
    """Write a gzipped copy, named ``.nii.gz``."""
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def replace(path: Path, old: bytes, new: bytes) -> Path:
    """Replace a text in a file's header."""
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    return path


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG file, with its check sum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def refusal_code(action: Any) -> Code:
    """Code of the refusal that calling ``action`` ends in; its texts name no path and serialise to JSON."""
    import json

    import pytest

    from nnunet_losses.serve.errors import Refusal

    with pytest.raises(Refusal) as caught:
        action()
    refusal = caught.value
    assert "/" not in refusal.detail, refusal.detail
    assert refusal.detail.endswith("."), refusal.detail
    assert refusal.remedy.endswith("."), refusal.remedy
    json.dumps([refusal.observed, refusal.expected], allow_nan=False)
    return refusal.code
