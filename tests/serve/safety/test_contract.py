"""What is refused before any network time, and what is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.safety.contract import check_contract
from nnunet_losses.serve.schema import Normalization

from ..images import noise, picture, volume
from ..models import channel, description, fingerprint, rgb_description

if TYPE_CHECKING:
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import ModelDescription

TWO = description(channel("T1"), channel("FLAIR"))
GOOD = noise(20, 24, 22)


def refused(image: Image, model: ModelDescription | None = None, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        check_contract(image, description() if model is None else model, **options)
    refusal = caught.value
    json.dumps([refusal.observed, refusal.expected], allow_nan=False)
    assert refusal.is_contract_breach
    return refusal


def replaced(value: float, where: Any = (3, 4, 5)) -> np.ndarray:
    data = GOOD.copy()
    data[where] = value
    return data


def test_a_good_image_passes() -> None:
    assert check_contract(volume(GOOD), description(fingerprint=fingerprint(shape_min=(18, 20, 20)))) == ()
    assert check_contract(picture(noise(3, 40, 50)), rgb_description()) == ()


@pytest.mark.parametrize("value", [float(np.finfo(np.float32).max), -1e16])
def test_values_that_stand_for_missing_ones(value: float) -> None:
    """Their squares overflow, and the normalised image would be constant."""
    refusal = refused(volume(replaced(value)))
    assert refusal.code is Code.CONTRACT_VALUE_RANGE
    assert "not measured" in refusal.remedy
    statistics = {"mean": 1.0, "std": 2.0, "percentile_00_5": 0.0, "percentile_99_5": 9.0}
    clipped = description(channel(normalization=Normalization.CT, **statistics))
    check_contract(volume(replaced(value)), clipped)


@pytest.mark.parametrize("count", [1, 3])
def test_channel_count(count: int) -> None:
    refusal = refused(volume(noise(count, 20, 20, 20)), TWO)
    assert refusal.code is Code.CONTRACT_CHANNEL_COUNT
    assert (refusal.observed, refusal.expected) == (count, 2)
    assert "T1, FLAIR" in refusal.detail


def test_transparency_is_explained() -> None:
    refusal = refused(picture(noise(4, 40, 50)), rgb_description())
    assert refusal.code is Code.CONTRACT_CHANNEL_COUNT
    assert "transparency" in refusal.remedy


def test_a_picture_for_a_model_of_volumes() -> None:
    assert refused(picture(noise(40, 50))).code is Code.CONTRACT_DIMENSIONS


def test_a_volume_for_a_model_of_slices_is_segmented_slice_by_slice() -> None:
    check_contract(volume(GOOD), description(patch=(16, 16), spacing=(1.0, 1.0)))


@pytest.mark.parametrize("spacing", [(1e-4, 1, 1), (1, 5e-4, 1), (1, 1, 2000.0)])
def test_absurd_spacing(spacing: tuple[float, ...]) -> None:
    assert refused(volume(GOOD, spacing)).code is Code.CONTRACT_SPACING


def test_the_fake_distance_of_a_picture_is_not_absurd() -> None:
    check_contract(picture(noise(40, 50), 3.0), description(patch=(16, 16), spacing=(1.0, 1.0)))


def test_microscopy_knows_small_spacings() -> None:
    tiny = fingerprint(spacing_min=(4e-4,) * 3, spacing_median=(4e-4,) * 3, spacing_max=(4e-4,) * 3)
    model = description(spacing=(4e-4,) * 3, fingerprint=tiny)
    check_contract(volume(GOOD, (4e-4,) * 3), model)
    assert refused(volume(GOOD, (4e-6,) * 3), model).code is Code.CONTRACT_SPACING


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite(value: float) -> None:
    data = replaced(value)
    data[7, 0, 0] = value
    refusal = refused(volume(data))
    assert refusal.code is Code.CONTRACT_NON_FINITE
    assert refusal.observed == {"voxels": 2, "first": [3, 4, 5]}


def test_non_finite_in_the_second_channel() -> None:
    refusal = refused(volume(np.stack([GOOD, replaced(np.nan)])), TWO)
    assert "FLAIR" in refusal.detail


def test_blank() -> None:
    assert refused(volume(np.zeros((20, 20, 20)))).code is Code.CONTRACT_BLANK
    refusal = refused(volume(np.stack([GOOD, np.zeros_like(GOOD)])), TWO)
    assert refusal.code is Code.CONTRACT_BLANK
    assert "FLAIR" in refusal.detail


@pytest.mark.parametrize("value", [-1024.0, 1.0, 255.0])
def test_constant(value: float) -> None:
    refusal = refused(volume(np.full((20, 20, 20), value)))
    assert (refusal.code, refusal.observed) == (Code.CONTRACT_CONSTANT, value)


def test_one_voxel_of_content_is_no_constant() -> None:
    data = np.zeros((20, 20, 20))
    data[10, 10, 10] = 1
    check_contract(volume(data), description())


def test_a_channel_that_was_constant_in_training_may_be_so() -> None:
    model = description(channel("T1"), channel("FLAIR", mean=0.0, std=0.0))
    check_contract(volume(np.stack([GOOD, np.zeros_like(GOOD)])), model)


@pytest.mark.parametrize(
    ("low", "high", "fine"), [(0, 255, True), (0, 256, False), (-1, 200, False), (0, 1, True)]
)
def test_rgb_range(low: float, high: float, fine: bool) -> None:
    data = noise(3, 40, 50, low=low, high=high)
    data[:, 0, :2] = low, high
    if fine:
        check_contract(picture(data), rgb_description())
    else:
        refusal = refused(picture(data), rgb_description())
        assert refusal.code is Code.CONTRACT_VALUE_RANGE
        assert refusal.observed == [low, high]


def test_rescaling_has_no_range() -> None:
    model = description(channel(normalization=Normalization.RESCALE_0_1))
    check_contract(volume(noise(20, 20, 20, low=-5000, high=90000)), model)


def test_resampling_that_would_explode_memory() -> None:
    refusal = refused(volume(noise(60, 60, 60), (90.0, 90.0, 90.0)))
    assert refusal.code is Code.CONTRACT_SIZE
    assert refusal.observed["voxels"] == [5400, 5400, 5400]
    assert refusal.observed["bytes"] > refusal.expected["bytes_at_most"]


def test_the_memory_budget() -> None:
    image = volume(GOOD)
    needed = refused(image, memory_bytes=1).observed["bytes"]
    assert GOOD.size * 4 < needed < GOOD.size * 200
    check_contract(image, description(), memory_bytes=needed)
    assert refused(image, memory_bytes=needed - 1).code is Code.CONTRACT_SIZE


def test_resampling_that_would_take_for_ever() -> None:
    """Memory enough, but an image of 20 voxels at 60 mm is not what a model with small tiles was made for."""
    image = volume(noise(20, 20, 20), (60.0, 60.0, 60.0))
    refusal = refused(image, memory_bytes=2**50)
    assert refusal.code is Code.CONTRACT_SIZE
    tiling = description().members[0].tiling
    per_axis = [-(-2 * (1200 - patch) // patch) + 1 for patch in tiling.patch_size]
    assert refusal.observed["tiles"] == per_axis[0] * per_axis[1] * per_axis[2]
    assert refusal.observed["tiles"] > refusal.expected["tiles_at_most"]


def test_an_empty_margin_costs_nothing() -> None:
    """As nnU-Net crops to the nonzero box first, only its contents are resampled."""
    data = np.zeros((60, 60, 60))
    data[20:30, 20:30, 20:30] = noise(10, 10, 10, low=1)
    full = noise(60, 60, 60, low=1)
    needed = [refused(volume(d, (5.0,) * 3), memory_bytes=1).observed["bytes"] for d in (data, full)]
    assert needed[0] < needed[1] / 10
    assert refused(volume(data, (5.0,) * 3), memory_bytes=1).observed["voxels"] == [50, 50, 50]


def test_nothing_left_at_the_models_spacing() -> None:
    data = np.zeros((20, 20, 20))
    data[10, 10, 10] = 1
    refusal = refused(volume(data, (0.1, 0.1, 0.1)))
    assert refusal.code is Code.CONTRACT_SIZE
    assert refusal.observed == [0, 0, 0]


def test_the_default_budget_is_what_is_free() -> None:
    from nnunet_losses.serve.safety.memory import HARD_MAXIMUM, available_memory

    assert 2**20 < available_memory() <= HARD_MAXIMUM
