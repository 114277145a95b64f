"""Image files for the page, and masks that fit them."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (40, 48, 32)  # x, y, z


def volume() -> bytes:
    """A grey ball in noise, as NIfTI."""
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    distance = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)
    noise = np.random.default_rng(0).normal(0, 8, SHAPE)
    return nifti((200 * (distance < 0.85) * (1 - distance / 2) + noise).astype(np.float32))


def mask(*, labels: tuple[int, ...] = (1, 2)) -> bytes:
    """Boxes one behind the other."""
    values = np.zeros(SHAPE, np.uint8)
    for index, label in enumerate(labels):
        values[10:30, 10 + 14 * index : 24 + 14 * index, 8:24] = label
    return nifti(values)


def picture(size: tuple[int, int] = (120, 90)) -> bytes:
    """A photograph in spirit."""
    width, height = size
    ramp = np.linspace(60, 200, width, dtype=np.uint8)
    return _png(
        np.stack(
            [
                np.tile(ramp, (height, 1)),
                np.full((height, width), 90, np.uint8),
                np.tile(ramp[::-1], (height, 1)),
            ],
            -1,
        )
    )


def picture_mask(size: tuple[int, int] = (120, 90)) -> bytes:
    width, height = size
    values = np.zeros((height, width), np.uint8)
    values[20:60, 30:80] = 1
    return _png(values)


def nifti(values: np.ndarray) -> bytes:
    affine = np.diag([1.0, 1.0, 1.5, 1.0])
    return bytes(nib.Nifti1Image(values, affine).to_bytes())


def _png(values: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, **files: bytes) -> list[str]:
    """Write files; ``_`` in a name stands for the dot before the ending."""
    paths = []
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content)
        paths.append(str(path))
    return paths
