"""What is extracted of a case: by hand, and the same whatever the layout in memory."""

from __future__ import annotations

from dataclasses import replace
from math import cos, radians, sin
from typing import Any

import numpy as np
import pytest

from nnunet_losses.serve.image import Geometry
from nnunet_losses.serve.pipeline.preprocess import Preprocessed
from nnunet_losses.serve.safety.scores.observation import (
    LEVELS,
    SAMPLED_VOXELS,
    correlations,
    observe_grid,
    observe_image,
    observe_preprocessed,
    sample,
)

from ...images import noise, picture, volume

TURNED = (cos(radians(20)), -sin(radians(20)), 0, sin(radians(20)), cos(radians(20)), 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("direction", "letters", "angle", "determinant"),
    [
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), "LPS", 0, 1),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), "RAS", 0, 1),
        ((1, 0, 0, 0, 1, 0, 0, 0, -1), "LPI", 0, -1),
        ((0, 0, 1, 1, 0, 0, 0, -1, 0), "PIL", 0, -1),  # first axis to posterior, second to inferior
        (TURNED, "LPS", 20, 1),
    ],
)
def test_orientation_by_hand(direction: Any, letters: str, angle: float, determinant: float) -> None:
    image = volume(noise(2, 3, 4), (3.0, 2.0, 1.0))
    grid = observe_grid(replace(image, geometry=replace(image.geometry, direction=direction)))
    assert grid.orientation == letters
    assert grid.obliqueness == pytest.approx(angle, abs=1e-5)
    assert grid.determinant == pytest.approx(determinant)
    assert grid.extent == (6.0, 6.0, 4.0)


def test_a_picture_has_two_letters() -> None:
    grid = observe_grid(picture(noise(5, 7)))
    assert (grid.orientation, grid.spacing) == ("LP", (999.0, 1.0, 1.0))


def test_order_statistics_hold_the_extremes_and_are_ascending() -> None:
    raw = observe_image(volume(noise(3, 5, 40, 50))).raw
    assert raw.shape == (3, LEVELS)
    assert (np.diff(raw, axis=1) >= 0).all()
    assert [raw.min(), raw.max()] == [noise(3, 5, 40, 50).astype(np.float32)[0:].min(), raw.max()]


def test_an_image_of_one_voxel() -> None:
    seen = observe_image(volume(np.full((2, 1, 1, 1), 7.0)))
    assert (seen.raw == 7).all()
    assert np.isnan(seen.correlations).all()


def test_many_voxels_are_sampled_evenly() -> None:
    columns = np.broadcast_to(np.arange(512, dtype=np.float32), (1, 8, 512, 512))
    voxels = sample(columns)
    assert SAMPLED_VOXELS / 2 < voxels.shape[1] <= SAMPLED_VOXELS
    counts = np.bincount(voxels[0].astype(int), minlength=512)  # a step of 8 would see every eighth column
    assert counts.max() - counts.min() <= 1


def test_the_layout_in_memory_does_not_matter_where_all_is_sampled() -> None:
    image = volume(noise(2, 6, 7, 8))
    fortran = replace(image, data=np.asfortranarray(image.data))
    one, other = observe_image(image), observe_image(fortran)
    assert np.array_equal(one.raw, other.raw)
    assert np.array_equal(one.nonzero, other.nonzero)
    assert one.correlations == pytest.approx(other.correlations)


def test_quantiles_of_a_sample_are_those_of_the_image() -> None:
    data = np.random.default_rng(3).normal(size=(1, 20, 300, 301)).astype(np.float32)
    middle = observe_image(volume(data)).raw[0, LEVELS // 2]
    assert middle == pytest.approx(np.median(data), abs=0.01)


def test_nonzero_share_and_correlation_leave_the_background_out() -> None:
    data = np.zeros((2, 1, 2, 4), np.float32)
    data[:, 0, 0] = [[1, 2, 3, 4], [4, 3, 2, 1]]
    seen = observe_image(volume(data))
    assert seen.nonzero.tolist() == [0.5, 0.5]
    assert seen.correlations[0, 1] == pytest.approx(-1)


def test_correlation_ignores_gain_and_offset() -> None:
    data = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
    assert correlations(data * 30 + 500)[0, 1] == pytest.approx(correlations(data)[0, 1], abs=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_refused(value: float) -> None:
    data = noise(2, 3, 4)
    data[0, 0, 0] = value
    with pytest.raises(ValueError, match="not finite"):
        observe_image(volume(data))


def test_no_voxels_are_refused() -> None:
    with pytest.raises(ValueError, match="no voxels"):
        sample(np.empty((1, 0, 3, 3), np.float32))


def test_a_blank_image_is_described_without_a_warning() -> None:
    seen = observe_image(volume(np.zeros((2, 3, 4, 5))))
    assert seen.nonzero.tolist() == [0, 0]
    assert np.isnan(seen.correlations).all()


def test_the_labels_of_a_cascade_are_no_channels() -> None:
    data = np.stack([np.arange(8.0).reshape(2, 2, 2), np.ones((2, 2, 2))]).astype(np.float32)
    whole = (slice(0, 2),) * 3
    preprocessed = Preprocessed(data, (2, 2, 2), whole, (1.0,) * 3, (1.0,) * 3)
    seen = observe_preprocessed(preprocessed, channels=1)
    assert seen.shape == (1, LEVELS)
    assert (seen.min(), seen.max()) == (0, 7)


def test_geometry_is_what_the_network_sees() -> None:
    """Where a reader turned the image, the file's own letters are only for the way back."""
    image = volume(noise(2, 3, 4))
    turned = Geometry(3, (1.0,) * 3, (0.0,) * 3, image.geometry.direction, orientation="RAI")
    assert observe_grid(replace(image, geometry=turned)).orientation == "LPS"
