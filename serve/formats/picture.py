"""Pictures (PNG, BMP, TIFF) as nnU-Net's NaturalImage2DIO reads them, checked before they are decoded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
from PIL import Image as Pillow

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.image import Geometry

from .integrity import Hash, check_exists, read_chunks, read_head
from .layout import REMEDY_EXPORT, corrupt, truncated, unsupported
from .png import SIGNATURE, check_png
from .tiff import MAGIC as TIFF_MAGIC
from .tiff import check_magic, open_tiff
from .volume import Decoded

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .limits import Limits

ENDINGS = (".png", ".bmp", ".tif", ".tiff")
MAGIC = {
    ".png": (SIGNATURE,),
    ".bmp": (b"BM",),
    ".tif": TIFF_MAGIC,
}
SPACING = (999.0, 1.0, 1.0)
GEOMETRY = Geometry(2, (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))


def read_picture(path: Path, *, ending: str, limits: Limits, digest: Hash) -> Decoded:
    """Check a picture to its last byte, then decode it.

    Args:
        path: the file.
        ending: which of ``ENDINGS`` its name has.
        limits: budgets for sizes.
        digest: receives the file's bytes.

    Raises:
        Refusal: with an ``input.*`` code for everything that is not one whole grey, RGB or RGBA picture.
    """
    check_exists(path, limits)
    ending = ".tif" if ending == ".tiff" else ending
    check_magic(path, ending, MAGIC[ending])
    for chunk in read_chunks(path):
        digest.update(chunk)
    pixels = _read_tiff(path, limits) if ending == ".tif" else _read_pillow(path, ending, limits)
    return Decoded(_channels_first(path.name, pixels), SPACING, GEOMETRY, ())


def _read_pillow(path: Path, ending: str, limits: Limits) -> NDArray[Any]:
    _check_announced(path, ending, limits)
    if ending == ".png":
        check_png(path)
    try:
        with Pillow.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
        pixels = np.asarray(iio.imread(path))
    except (OSError, SyntaxError, ValueError, AttributeError, struct.error) as error:  # all seen
        raise _pillow_refusal(path.name, str(error)) from error
    if frames != 1:
        raise _several(path.name, frames)
    return pixels


def _check_announced(path: Path, ending: str, limits: Limits) -> None:
    head = read_head(path, compressed=False)
    begin, form = (16, ">II") if ending == ".png" else (18, "<ii")
    if len(head) < begin + 8:
        raise truncated(path.name, len(head), None)
    width, height = struct.unpack_from(form, head, begin)
    limits.check_picture(path.name, abs(width), abs(height))


def _pillow_refusal(name: str, reason: str) -> Refusal:
    if "trunc" in reason.lower():
        detail = f"{name} is incomplete: the picture ends too early."
        return Refusal(Code.INPUT_TRUNCATED, detail, remedy=REMEDY_EXPORT)
    return corrupt(name, "a check sum or its compression is wrong, so its contents cannot be trusted.")


def _several(name: str, pictures: int) -> Refusal:
    return unsupported(
        name,
        f"holds {pictures} pictures.",
        remedy="Save one file for each picture.",
        observed=pictures,
        expected=1,
    )


def _read_tiff(path: Path, limits: Limits) -> NDArray[Any]:
    with open_tiff(path, limits) as file:
        return _channels_last(np.asarray(file.asarray()))


def _channels_last(pixels: NDArray[Any]) -> NDArray[Any]:
    """Planes of colour to the end, as scikit-image does it for nnU-Net."""
    if pixels.ndim > 2 and pixels.shape[-1] not in (3, 4) and pixels.shape[-3] in (3, 4):
        return np.moveaxis(pixels, -3, -1)
    return pixels


def _channels_first(name: str, pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.dtype.kind not in "biuf":
        raise unsupported(
            name, f"holds pixels of the type {pixels.dtype}.", remedy="Save grey values or colours."
        )
    if pixels.ndim == 2:
        return pixels[None, None]
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        return pixels.transpose(2, 0, 1)[:, None]
    if pixels.ndim == 3 and pixels.shape[-1] == 2:
        raise unsupported(
            name,
            "is a grey picture with transparency.",
            remedy="Save it without transparency.",
            observed=list(pixels.shape),
            expected="grey, RGB or RGBA",
        )
    raise _several(name, len(pixels))
