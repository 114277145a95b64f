"""What is no image of the kind, or in another unit: blanks, patterns, scaled intensities, mixed channels.

Every function takes an image and returns a new one of the same shape and place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image

PINK = 1.5  # exponent of the spectrum of natural images, by amplitude, for volumes


def constant(image: Image, value: float) -> Image:
    """Every voxel the same: 0 is a blank image."""
    return replace(image, data=np.full_like(image.data, value))


def not_a_number(image: Image, share: float, random: Generator) -> Image:
    """A share of the voxels without a value; one at least."""
    data = image.data.copy()
    count = max(1, round(share * data.size))
    data.flat[random.choice(data.size, count, replace=False)] = np.nan
    return replace(image, data=data)


def to_unit_range(image: Image) -> Image:
    """Intensities brought to 0 to 1, as many tools do before they save."""
    low, width = _range(image)
    return replace(image, data=((image.data - low) / width).astype(np.float32))


def to_bytes(image: Image) -> Image:
    """Intensities brought to whole numbers from 0 to 255."""
    low, width = _range(image)
    return replace(image, data=np.round((image.data - low) / width * 255).astype(np.float32))


def shifted(image: Image, amount: float) -> Image:
    """Intensities with a constant added: 1024 is what is forgotten when Hounsfield units are stored."""
    return replace(image, data=image.data + np.float32(amount))


def scaled(image: Image, factor: float) -> Image:
    """Intensities times a constant."""
    return replace(image, data=image.data * np.float32(factor))


def swapped_channels(image: Image) -> Image:
    """Channels in the opposite order; needs two."""
    return replace(image, data=np.ascontiguousarray(image.data[::-1]))


def doubled_channel(image: Image) -> Image:
    """The first channel in place of all; needs two."""
    return replace(image, data=np.repeat(image.data[:1], len(image.data), axis=0))


def blank_channel(image: Image) -> Image:
    """The last channel empty; needs two."""
    data = image.data.copy()
    data[-1] = 0
    return replace(image, data=data)


def white_noise(image: Image, random: Generator) -> Image:
    """Each channel's own voxels in random places: same histogram, no picture."""
    data = np.stack([random.permutation(voxels.ravel()).reshape(voxels.shape) for voxels in image.data])
    return replace(image, data=data)


def clouds(image: Image, random: Generator) -> Image:
    """Noise with the spectrum of natural images, and each channel's own histogram."""
    return replace(image, data=np.stack([_with_histogram(_clouds(v.shape, random), v) for v in image.data]))


def checkerboard(image: Image, side: int) -> Image:
    """Fields of ``side`` voxels of the smallest and the largest value."""
    fields = sum(index // side for index in np.indices(image.shape, sparse=True)) % 2
    low = image.data.min(axis=(1, 2, 3), keepdims=True)
    high = image.data.max(axis=(1, 2, 3), keepdims=True)
    return replace(image, data=np.where(fields == 1, high, low).astype(np.float32))


def _range(image: Image) -> tuple[float, float]:
    low = float(image.data.min())
    return low, float(image.data.max()) - low or 1.0


def _clouds(shape: tuple[int, ...], random: Generator) -> NDArray[np.float64]:
    frequencies = [np.fft.fftfreq(size) for size in shape]
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*frequencies, indexing="ij", sparse=True)))
    radius.flat[0] = np.inf
    spectrum = np.fft.fftn(random.normal(size=shape)) / radius**PINK
    return np.fft.ifftn(spectrum).real


def _with_histogram(pattern: NDArray[np.float64], voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The voxels' values in the order of the pattern's."""
    result = np.empty_like(voxels)
    result.ravel()[np.argsort(pattern, axis=None)] = np.sort(voxels, axis=None)
    return result
