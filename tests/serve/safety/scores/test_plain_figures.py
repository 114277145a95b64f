"""What was made cheaper gives the figures of the plain formulas."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_losses.serve.safety.conformal import MEAN_TO_DEVIATION, MEDIAN_TO_DEVIATION, robust_z
from nnunet_losses.serve.safety.scores.observation import LEVELS, correlations, order_statistics
from nnunet_losses.serve.safety.scores.pooling import pooled
from nnunet_losses.serve.safety.scores.texture import BANDS, FLOOR, PER_AXIS, observe_texture

Floats = NDArray[np.float64]


def plain_z(column: Floats) -> Floats:
    """One column's z as the documentation has it."""
    present = np.clip(column[~np.isnan(column)], -np.finfo(float).max / 4, np.finfo(float).max / 4)
    if present.size == 0:
        return np.full_like(column, np.nan)
    deviations = np.abs(present - np.median(present))
    scale = MEDIAN_TO_DEVIATION * np.median(deviations)
    scale = scale or MEAN_TO_DEVIATION * np.sum(deviations / deviations.size)
    if scale == 0:
        return np.where(np.isnan(column), np.nan, 0.0)
    with np.errstate(over="ignore"):
        return np.asarray((column - np.median(present)) / scale)


@pytest.mark.parametrize("seed", range(60))
def test_all_columns_at_once_have_the_z_of_each_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.normal(size=tuple(random.integers(1, 25, 2))) * 10.0 ** random.integers(-3, 3)
    scores = np.round(scores) if seed % 3 == 0 else scores  # ties, columns of one value
    scores[random.random(scores.shape) < 0.2 * (seed % 4)] = np.nan
    scores[random.random(scores.shape) < 0.1 * (seed % 2)] = np.inf
    scores *= 1e300 if seed % 11 == 0 else 1.0
    expected = np.column_stack([plain_z(column) for column in scores.T])
    assert np.array_equal(robust_z(scores), expected, equal_nan=True)


@pytest.mark.parametrize(
    "voxels",
    [
        np.random.default_rng(0).normal(size=(2, 9000)),
        np.random.default_rng(1).integers(-1024, 3000, (2, 9000)),  # a CT
        np.random.default_rng(2).integers(0, 2**16, (1, 9000)),
        np.random.default_rng(3).integers(-(2**20), 2**20, (1, 9000)),
        np.random.default_rng(4).integers(0, 50, (1, 9000)) + 0.25,
        np.array([[-0.0, 0.0, 1e30, -1e30, 3.5]]),
        np.full((1, 7), 3.0),
    ],
    ids=["floats", "CT", "16 bits", "large", "shifted", "wide", "constant"],
)
def test_order_statistics_are_those_of_a_plain_sort(voxels: Floats) -> None:
    single = voxels.astype(np.float32)
    ranks = np.rint(np.linspace(0, single.shape[1] - 1, LEVELS)).astype(int)
    assert np.array_equal(order_statistics(single), np.sort(single, axis=1)[:, ranks])


def test_a_single_channel_correlates_with_itself_alone() -> None:
    assert correlations(np.array([[1, 2, 4]], np.float32)).tolist() == [[1.0]]
    assert np.isnan(correlations(np.array([[2, 2, 2]], np.float32))).all()


@pytest.mark.parametrize("weights", [None, np.array([0.0, 0.25, 2.0])])
def test_stages_pooled_together_are_those_pooled_alone(weights: Floats | None) -> None:
    random = np.random.default_rng(0)
    stages = {f"stage{index}": random.normal(size=(3, 4 + index)).astype(np.float32) for index in range(3)}
    found = pooled(stages, weights)
    assert found is not None
    for name, values in stages.items():
        expected = np.average(values.astype(np.float64), axis=0, weights=weights)
        assert found[name] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(20, 30, 40), (1, 64, 90), (4, 9, 33)])
def test_texture_has_the_figures_of_double_precision(shape: tuple[int, int, int]) -> None:
    """Spectra and medians by their definitions; single precision leaves about 1e-5 of a logarithm."""
    voxels = np.random.default_rng(5).normal(size=shape)
    voxels = voxels + np.roll(voxels, 1, axis=2)
    found = observe_texture(voxels[None].astype(np.float32))[0]
    for axis in range(3):
        if shape[axis] < 8:
            assert np.isnan(found[axis * PER_AXIS : (axis + 1) * PER_AXIS]).all()
        else:
            expected = plain_axis(np.moveaxis(voxels, axis, -1).reshape(-1, shape[axis]))
            assert found[axis * PER_AXIS : (axis + 1) * PER_AXIS] == pytest.approx(expected, abs=3e-5)


def plain_axis(lines: Floats) -> list[float]:
    """Bands, roughness and noise of lines (lines, voxels)."""
    length = lines.shape[1]
    power = np.mean(np.abs(np.fft.rfft(lines)) ** 2, axis=0) / length
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    smooth = np.mean(np.abs(np.fft.rfft((lines - lines.mean(1, keepdims=True)) * hann)) ** 2, axis=0) / length
    frequency = np.fft.rfftfreq(length)
    bands = []
    for low, high in pairwise(BANDS):
        inside = (frequency > low) & (frequency <= high)
        if not inside.any():
            inside[1 + np.argmin(np.abs(frequency[1:] - (low + high) / 2))] = True
        bands.append(float(np.log(smooth[inside].mean() + FLOOR)))
    bent = np.abs(np.diff(np.log(power[1:] + FLOOR), 2)).mean()
    noise = np.median(np.abs(lines[:, 2:] - 2 * lines[:, 1:-1] + lines[:, :-2]))
    return [*bands, float(np.log(bent + FLOOR)), float(np.log(noise + FLOOR))]
