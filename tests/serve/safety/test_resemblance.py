"""Hints that an image is unlike the training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.serve.safety.resemblance import resemblance_warnings
from nnunet_losses.serve.schema import Normalization

from ..images import noise, picture, volume
from ..models import channel, description, fingerprint, rgb_description

if TYPE_CHECKING:
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import ModelDescription

STATISTICS = {"mean": 60.0, "std": 40.0, "percentile_00_5": -50.0, "percentile_99_5": 150.0}
CT = description(channel("CT", normalization=Normalization.CT, **STATISTICS))
MRI = description(channel("MRI", **STATISTICS))
GRID = description(fingerprint=fingerprint())


def codes(image: Image, model: ModelDescription) -> list[str]:
    warnings = resemblance_warnings(image, model)
    for warning in warnings:
        warning.model_dump_json()
        assert warning.message.endswith(".")
        assert warning.observed is not None
        assert warning.expected is not None
    return [warning.code for warning in warnings]


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 1, 1), (0.5, 0.5, 0.5)])
def test_usual_spacing(spacing: tuple[float, ...]) -> None:
    assert "input.spacing_unusual" not in codes(volume(noise(32, 40, 36), spacing), GRID)


@pytest.mark.parametrize("spacing", [(2.1, 1, 1), (1, 0.4, 1)])
def test_unusual_spacing(spacing: tuple[float, ...]) -> None:
    assert "input.spacing_unusual" in codes(volume(noise(32, 40, 36), spacing), GRID)


@pytest.mark.parametrize(
    ("shape", "unusual"),
    [((32, 40, 36), False), ((60, 80, 70), False), ((14, 40, 36), True), ((32, 40, 80), True)],
)
def test_extent(shape: tuple[int, ...], unusual: bool) -> None:
    assert ("input.extent_unusual" in codes(volume(noise(*shape)), GRID)) is unusual


def test_pictures_are_compared_in_their_plane() -> None:
    flat = fingerprint(
        spacing_min=(999.0, 1.0, 1.0),
        spacing_max=(999.0, 1.0, 1.0),
        shape_min=(1, 40, 50),
        shape_max=(1, 40, 50),
    )
    model = rgb_description(fingerprint=flat)
    assert codes(picture(noise(3, 40, 50)), model) == []
    (warning,) = resemblance_warnings(picture(noise(3, 40, 500)), model)
    assert "500 (x) pixels" in warning.message


def test_a_volume_for_a_model_of_flat_images() -> None:
    flat = fingerprint(
        spacing_min=(999.0, 1.0, 1.0),
        spacing_max=(999.0, 1.0, 1.0),
        shape_min=(1, 40, 36),
        shape_max=(1, 40, 36),
    )
    assert codes(volume(noise(32, 40, 36)), description(fingerprint=flat)) == ["input.dimensions_unusual"]


@pytest.mark.parametrize(
    ("low", "high", "unusual"),
    [
        (-1000, 1200, False),  # a body in air
        (0, 1, True),  # rescaled
        (0, 2200, False),  # shifted by 1024: within what a contrast medium may do
        (400, 3000, True),  # nothing of the foreground's intensities
        (-3000, -200, True),
        (-1e6, 1e6, True),
    ],
)
def test_ct_numbers(low: float, high: float, unusual: bool) -> None:
    assert (
        codes(volume(noise(20, 20, 20, low=low, high=high)), CT) == ["input.intensity_unusual"]
    ) is unusual


@pytest.mark.parametrize(
    ("low", "high", "unusual"),
    [(0, 1, False), (0, 3000, False), (100, 9000, False), (0, 1e-3, False), (0, 1e7, True), (200, 900, True)],
)
def test_mri_has_no_scale(low: float, high: float, unusual: bool) -> None:
    assert (
        codes(volume(noise(20, 20, 20, low=low, high=high)), MRI) == ["input.intensity_unusual"]
    ) is unusual


@pytest.mark.parametrize("size", [3, 15])
def test_content_in_a_large_empty_margin_is_seen(size: int) -> None:
    data = np.zeros((100, 100, 150))
    data[:size, :size, :size] = noise(size, size, size, low=-50, high=150)
    assert codes(volume(data), CT) == []


def test_without_statistics_nothing_is_said() -> None:
    assert codes(volume(noise(20, 20, 20, high=1e9)), description()) == []
