"""What goes wrong in a scanner: noise, fields, ghosts, spikes, blur, thick slices, things in the way.

Every function takes the voxels of one channel, float32 (z, y, x), a strength, and a random generator, and
returns new voxels of the same shape. Pictures have one z. Contrast is the standard deviation of the voxels
that are not the image's smallest value.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Voxels = NDArray[np.float32]

BIAS_ORDER = 3  # of the polynomial
GHOSTS = (4, 9)  # how many, upper end excluded


def contrast(voxels: Voxels) -> float:
    """Standard deviation of what is not background; 1 for an image of one value.

    Example:
        >>> contrast(np.array([[[0, 0, 1, 3]]], np.float32))
        1.0
    """
    content = voxels[voxels > voxels.min()]
    deviation = float(content.std(dtype=np.float64)) if content.size else 0.0
    return deviation or float(np.ptp(voxels)) or 1.0


def noise(voxels: Voxels, strength: float, random: Generator) -> Voxels:
    """Add normal noise of ``strength`` contrasts."""
    return voxels + random.normal(0, strength * contrast(voxels), voxels.shape).astype(np.float32)


def bias_field(voxels: Voxels, strength: float, random: Generator) -> Voxels:
    """Multiply by exp of a polynomial of order 3 with coefficients of up to ``strength``.

    Intensities are counted from the image's smallest, so that images with negative ones brighten likewise.
    """
    axes = np.meshgrid(*(np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in voxels.shape),
                       indexing="ij", sparse=True)  # fmt: skip
    exponents = [
        powers for powers in product(range(BIAS_ORDER + 1), repeat=3) if 0 < sum(powers) <= BIAS_ORDER
    ]
    field = sum(
        random.uniform(-strength, strength) * axes[0] ** z * axes[1] ** y * axes[2] ** x
        for z, y, x in exponents
    )
    floor = voxels.min()
    brightened: Voxels = ((voxels - floor) * np.exp(field) + floor).astype(np.float32)
    return brightened


def ghosting(voxels: Voxels, strength: float, random: Generator) -> Voxels:
    """Weaken every so many Fourier planes by ``strength``: copies along one axis, as of motion."""
    axis = int(random.choice(_long_axes(voxels)))
    spectrum = np.fft.fftshift(np.fft.fft(voxels, axis=axis), axes=axis)
    size = voxels.shape[axis]
    factor = np.ones(size)
    factor[:: int(random.integers(*GHOSTS))] = 1 - strength
    factor[size // 2] = 1  # the mean brightness stays
    weighted = spectrum * factor.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.fft.ifft(np.fft.ifftshift(weighted, axes=axis), axis=axis).real.astype(np.float32)


def spike(voxels: Voxels, strength: float, random: Generator) -> Voxels:
    """Add one wave through the whole image, of ``strength`` times the strongest frequency but the mean."""
    spectrum = np.fft.fftn(voxels.astype(np.float64))
    spectrum.flat[0] = 0
    amplitude = strength * np.abs(spectrum).max() / voxels.size
    indices: tuple[NDArray[np.int64], ...] = np.indices(voxels.shape, sparse=True)
    phase = sum(
        2 * np.pi * int(random.integers(1, max(2, size // 4))) * index / size
        for size, index in zip(voxels.shape, indices, strict=True)
        if size > 1
    )
    wave = 2 * amplitude * np.cos(phase + random.uniform(0, 2 * np.pi))
    waved: Voxels = (voxels + wave).astype(np.float32)
    return waved


def blur(voxels: Voxels, strength: float, random: Generator) -> Voxels:  # noqa: ARG001 - one signature for all
    """Blur with a normal of ``strength`` voxels."""
    return ndimage.gaussian_filter(voxels, [strength if size > 1 else 0 for size in voxels.shape])


def gamma(voxels: Voxels, strength: float, random: Generator) -> Voxels:
    """Raise the image, brought to 0 to 1, to the power ``strength`` or 1 / ``strength``."""
    power = strength if random.random() < 0.5 else 1 / strength
    low, width = float(voxels.min()), float(np.ptp(voxels)) or 1.0
    return (((voxels - low) / width) ** power * width + low).astype(np.float32)


def inversion(voxels: Voxels, strength: float, random: Generator) -> Voxels:  # noqa: ARG001 - one signature for all
    """Turn dark into bright by ``strength``: 1 inverts, 0.5 leaves nothing but grey."""
    low, high = float(voxels.min()), float(voxels.max())
    return ((1 - strength) * voxels + strength * (low + high - voxels)).astype(np.float32)


def low_resolution(voxels: Voxels, strength: float, random: Generator) -> Voxels:
    """Average ``strength`` neighbouring slices along one axis; pictures along both."""
    axes = _long_axes(voxels) if voxels.shape[0] == 1 else [int(random.choice(_long_axes(voxels)))]
    result = voxels
    for axis in axes:
        result = _thick(result, round(strength), axis)
    return result


def _thick(voxels: Voxels, factor: int, axis: int) -> Voxels:
    starts = np.arange(0, voxels.shape[axis], factor)
    counts = np.diff([*starts, voxels.shape[axis]])
    shape = [-1 if a == axis else 1 for a in range(3)]
    means = np.add.reduceat(voxels, starts, axis=axis) / counts.reshape(shape)
    centres = starts + (counts - 1) / 2
    position = np.interp(np.arange(voxels.shape[axis]), centres, np.arange(len(starts)))
    lower = np.minimum(np.floor(position).astype(int), len(starts) - 1)
    upper = np.minimum(lower + 1, len(starts) - 1)
    share = (position - lower).reshape(shape)
    thick: Voxels = (means.take(lower, axis) * (1 - share) + means.take(upper, axis) * share).astype(
        np.float32
    )
    return thick


def occlusion(voxels: Voxels, strength: float, random: Generator) -> Voxels:
    """Put a box of the smallest value somewhere, ``strength`` as long as the image along each axis."""
    sizes = [max(1, round(strength * size)) for size in voxels.shape]
    starts = [
        int(random.integers(0, size - side + 1)) for size, side in zip(voxels.shape, sizes, strict=True)
    ]
    result = voxels.copy()
    result[tuple(slice(first, first + side) for first, side in zip(starts, sizes, strict=True))] = (
        voxels.min()
    )
    return result


def _long_axes(voxels: Voxels) -> list[int]:
    """Axes with more than one voxel; the last where there is none."""
    return [axis for axis, size in enumerate(voxels.shape) if size > 1] or [2]
