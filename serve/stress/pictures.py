"""Small pictures of slices with their masks, as data for a page that needs no other files."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow
from scipy import ndimage

from nnunet_losses.serve.outputs.colours import colour

from .suite import CORRUPTIONS, Family

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image

SIDE = 168  # pixels of the longer side
TINT = 0.35
WINDOW = (0.5, 99.5)  # percentiles that become black and white
OWN_WINDOW = (Family.UNIT, Family.CONTENT, Family.CONTRACT)  # nothing is to be seen in the usual one
LAST_CHANNEL = ("blank_channel", "swapped_channels", "doubled_channel")


@dataclass(frozen=True, eq=False)
class Painter:
    """Paints the slices of one case.

    Attributes:
        window: of each channel of the undamaged image: values that become black and white.
        is_colour: whether the channels are red, green and blue.
    """

    window: NDArray[np.float64]
    is_colour: bool

    @classmethod
    def of(cls, image: Image, *, is_colour: bool) -> Painter:
        """Painter for an undamaged image and what becomes of it."""
        return cls(_window(image.data), is_colour)

    def paint(self, image: Image, mask: NDArray[Any] | None, corruption: str | None) -> str:
        """Picture as a ``data:`` address: the slice with most of the mask, or the middle one."""
        index = _slice(image, mask)
        own = corruption is not None and CORRUPTIONS[corruption].family in OWN_WINDOW
        grey = _shades(image.data[:, index], _window(image.data) if own else self.window)
        last = corruption in LAST_CHANNEL
        colours = grey[:3] if self.is_colour else np.repeat(grey[-1:] if last else grey[:1], 3, axis=0)
        painted = _tinted(np.moveaxis(colours, 0, -1), None if mask is None else mask[index])
        return _address(painted, image.spacing[1:])


def _window(data: NDArray[np.float32]) -> NDArray[np.float64]:
    """(channels, 2); a channel of one value is black."""
    finite = np.where(np.isfinite(data), data, np.nan).reshape(len(data), -1)
    low, high = np.nanpercentile(finite, WINDOW, axis=1)
    return np.stack([low, np.maximum(high, low + 1e-6 * np.maximum(1, np.abs(low)))], axis=1)


def _shades(data: NDArray[np.float32], window: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = (window[:, side, np.newaxis, np.newaxis] for side in (0, 1))
    shades: NDArray[np.float64] = np.clip(
        (np.nan_to_num(data, posinf=0, neginf=0) - low) / (high - low), 0, 1
    )
    return shades


def _slice(image: Image, mask: NDArray[Any] | None) -> int:
    if mask is None or not mask.any():
        return image.shape[0] // 2
    return int(np.argmax((mask > 0).sum(axis=(1, 2))))


def _tinted(colours: NDArray[np.float64], mask: NDArray[Any] | None) -> NDArray[np.uint8]:
    """Labels outlined and tinted, in the colours that they have everywhere."""
    pixels = colours * 255
    for value in [] if mask is None else np.unique(mask[mask > 0]):
        inside = mask == value
        border = inside & ~ndimage.binary_erosion(inside)
        tint = np.array(colour(int(value) - 1), np.float64)
        pixels[inside] = (1 - TINT) * pixels[inside] + TINT * tint
        pixels[border] = tint
    return np.rint(pixels).astype(np.uint8)


def _address(pixels: NDArray[np.uint8], spacing: tuple[float, ...]) -> str:
    height, width = (size * step for size, step in zip(pixels.shape[:2], spacing, strict=True))
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # whole pixels stay square and sharp when they are magnified
    smooth = max(pixels.shape[:2]) > SIDE
    picture = Pillow.fromarray(pixels).resize(
        size, Pillow.Resampling.LANCZOS if smooth else Pillow.Resampling.NEAREST
    )
    buffer = BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode("ascii")
