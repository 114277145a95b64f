"""How an image is made, whatever it shows: sharpness, noise, ghosts, spikes and flat parts, along each axis.

Histograms forget where a value lies, and networks are trained not to mind noise, blur and thick slices. So
neither sees damage that a radiographer sees at once. A few statistics of neighbouring voxels and of spectra
do: robust noise estimates (after Immerkær, https://doi.org/10.1006/cviu.1996.0060, with a median in place
of the mean) and power in frequency bands.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LINES = 2048  # of voxels along each axis, spread evenly
BANDS = (0.03, 0.0625, 0.125, 0.25, 0.375, 0.5)  # edges, in periods per voxel
BRICK = 64  # voxels: longest side of the part whose full spectrum is looked at
SHELLS = 24  # of equal frequency
SHORTEST = 8  # voxels along an axis; of fewer nothing is said
STILL = 1e-3  # difference of neighbours, in units of the network's input, that counts as none
FLOOR = 1e-4  # of a power or a noise level, in those units: smaller ones mean nothing

PER_AXIS = len(BANDS) - 1 + 2
STATISTICS = 3 * PER_AXIS + 2


def observe_texture(data: NDArray[np.float32]) -> Floats:
    """Statistics of each channel: (channels, ``STATISTICS``), logarithms; NaN along axes that are too short.

    For each axis: power in each of the bands, roughness of the spectrum (ghosts are combs in it), noise.
    Then the share of flat parts, and how far one single frequency stands out.

    Args:
        data: (channels, z, y, x) as the network gets it.

    Example:
        >>> random = np.random.default_rng(0)
        >>> sharp = random.normal(size=(1, 16, 16, 16)).astype(np.float32)
        >>> blurred = (sharp + np.roll(sharp, 1, axis=3)) / 2
        >>> change = observe_texture(blurred) - observe_texture(sharp)
        >>> change.shape, bool(change[0, 3 * PER_AXIS - 3] < -1)  # highest band along x
        ((1, 23), True)
    """
    return np.stack([_channel(np.asarray(voxels, np.float32)) for voxels in data])


def _channel(voxels: NDArray[np.float32]) -> Floats:
    lines = [_lines(voxels, axis) for axis in range(3)]
    rows = [_axis(along) for along in lines]
    still = [float((np.abs(np.diff(along)) < STILL).mean()) for along in lines if along.shape[1] > 1]
    flat = np.log(min(still, default=0.0) + STILL)
    return np.concatenate([*rows, [flat, _peak(_brick(voxels))]])


def _lines(voxels: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """At most about ``LINES`` lines along an axis: (lines, voxels)."""
    moved = np.moveaxis(voxels, axis, -1)
    first, second, length = moved.shape
    step = max(1, round((first * second / LINES) ** 0.5))
    return moved[:: min(step, first), :: min(step, second)].reshape(-1, length)


def _axis(lines: NDArray[np.float32]) -> Floats:
    """Bands, roughness and noise."""
    length = lines.shape[1]
    if length < SHORTEST:
        return np.full(PER_AXIS, np.nan)
    windowed = (lines - lines.mean(axis=1, keepdims=True)) * np.hanning(length + 1)[:-1].astype(np.float32)
    bands = _bands(_power(windowed), np.fft.rfftfreq(length).astype(np.float64))
    # ghosts are made by weakening whole frequencies of the image as it is, without any window
    spectrum = np.log(_power(lines)[1:] + FLOOR)
    roughness = np.log(np.abs(np.diff(spectrum, 2)).mean() + FLOOR)
    noise = np.log(_median(np.abs(np.diff(lines, 2))) + FLOOR)
    return np.array([*bands, roughness, noise])


def _power(lines: NDArray[np.float32]) -> Floats:
    power: Floats = _squares(fft.rfft(lines)).mean(axis=0) / lines.shape[1]
    return power


def _squares(spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = spectrum.real**2 + spectrum.imag**2
    return result


def _median(values: NDArray[np.float32]) -> np.float32:
    """As ``numpy.median`` of finite values, which takes twice as long."""
    middle = values.size // 2
    parted = np.partition(values, middle, axis=None)
    upper: np.float32 = parted[middle]
    return upper if values.size % 2 else (parted[:middle].max() + upper) / np.float32(2)


def _bands(power: Floats, frequencies: Floats) -> list[float]:
    """Logarithm of the mean power in each band; where no frequency lies in one, of the nearest frequency."""
    levels = []
    for low, high in pairwise(BANDS):
        inside = (frequencies > low) & (frequencies <= high)
        if not inside.any():
            inside[1 + int(np.argmin(np.abs(frequencies[1:] - (low + high) / 2)))] = True
        levels.append(float(np.log(power[inside].mean() + FLOOR)))
    return levels


def _brick(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle, at most ``BRICK`` voxels long; pictures may be longer."""
    side = BRICK if voxels.shape[0] > 1 else 4 * BRICK
    starts = [max(0, (size - side) // 2) for size in voxels.shape]
    return voxels[tuple(slice(first, first + side) for first in starts)]


def _peak(brick: NDArray[np.float32]) -> float:
    """How far the strongest frequency lies above the mean of those of its length, on a logarithmic scale."""
    windowed = brick - brick.mean()
    for axis, size in enumerate(brick.shape):
        if size > 1:
            shape = [-1 if other == axis else 1 for other in range(3)]
            windowed = windowed * np.hanning(size + 1)[:-1].astype(np.float32).reshape(shape)
    power = np.log(_squares(fft.rfftn(windowed)) / brick.size + FLOOR)
    grids = [*map(np.fft.fftfreq, brick.shape[:-1]), np.fft.rfftfreq(brick.shape[-1])]
    radius = np.sqrt(sum(grid**2 for grid in np.meshgrid(*grids, indexing="ij", sparse=True)))
    shell = np.minimum((radius * 2 * SHELLS).astype(int), SHELLS).ravel()
    counts = np.bincount(shell)
    means = np.bincount(shell, power.ravel()) / np.maximum(counts, 1)
    above = (power.ravel() - means[shell])[(shell > 0) & (counts[shell] >= SHORTEST)]
    return float(above.max()) if above.size else 0.0
