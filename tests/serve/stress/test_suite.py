"""The suite of damages: deterministic, honest about place, and truly damaging."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK

from nnunet_losses.serve.stress import acquisition, space
from nnunet_losses.serve.stress.suite import CORRUPTIONS, SUITE, Corruption, damages

from ..images import picture, volume

if TYPE_CHECKING:
    from nnunet_losses.serve.image import Image

RANDOM = np.random.default_rng(0)
BODY = np.add.outer(np.add.outer(np.linspace(0, 1, 12), np.linspace(0, 2, 20) ** 2), np.linspace(0, 1, 16))
VOLUME = volume(
    np.stack([100 * BODY - 50, 7 * BODY[::-1]]) + RANDOM.normal(size=(2, 12, 20, 16)), (3.0, 1.0, 0.5)
)
PICTURE = picture(RANDOM.uniform(0, 255, (3, 24, 32)))
CELLS = [
    pytest.param(image, corruption, severity, id=f"{name}-{corruption.key}-{severity}")
    for name, image in (("volume", VOLUME), ("picture", PICTURE))
    for corruption, severity in damages(image)
]


@pytest.mark.parametrize(("image", "corruption", "severity"), CELLS)
def test_every_damage_changes_the_image_alone(image: Image, corruption: Corruption, severity: int) -> None:
    before = image.data.copy()
    damaged = corruption.apply(image, severity, case="case")
    assert np.array_equal(image.data, before)
    assert damaged.data.dtype == np.float32
    assert damaged.data.ndim == 4
    assert damaged.geometry.dimension == image.geometry.dimension
    changed = damaged.data.shape != image.data.shape or not np.array_equal(damaged.data, image.data)
    assert changed or damaged.spacing != image.spacing
    assert corruption.key == "not_a_number" or np.isfinite(damaged.data).all()
    again = corruption.apply(image, severity, case="case")
    assert np.array_equal(again.data, damaged.data, equal_nan=True)
    assert again.geometry == damaged.geometry


@pytest.mark.parametrize(
    "key", ["noise", "bias_field", "blur", "occlusion", "inversion", "low_resolution", "spike"]
)
def test_stronger_is_further_away(key: str) -> None:
    corruption = CORRUPTIONS[key]
    far = [float(np.abs(corruption.apply(VOLUME, s, case="a").data - VOLUME.data).mean()) for s in range(3)]
    assert far == sorted(far)
    assert far[0] > 0


def test_chance_differs_from_case_to_case() -> None:
    noise = CORRUPTIONS["noise"]
    assert not np.array_equal(noise.apply(VOLUME, 0, case="a").data, noise.apply(VOLUME, 0, case="b").data)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_told_flip_leaves_every_voxel_in_its_place(axis: int) -> None:
    assert_same_world(space.flip(VOLUME, axis, told=True))


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (0, 2, 1), (1, 2, 0), (2, 0, 1)])
def test_told_swaps_leave_every_voxel_in_its_place(order: tuple[int, int, int]) -> None:
    swapped = space.swap_axes(VOLUME, order, told=True)
    assert swapped.spacing == tuple(VOLUME.spacing[axis] for axis in order)
    assert_same_world(swapped)


def test_a_cropped_field_stays_in_its_place() -> None:
    cropped = space.crop_field(space.flip(VOLUME, 1, told=True), 0.5, np.random.default_rng(3))
    assert cropped.shape == (6, 10, 8)
    assert_same_world(cropped)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_told_flip_of_a_picture(axis: int) -> None:
    flipped = space.flip(PICTURE, axis, told=True)
    assert flipped.spacing == PICTURE.spacing
    assert_same_world(flipped, PICTURE)


def assert_same_world(changed: Image, original: Image = VOLUME) -> None:
    """Every voxel of the changed image lies where the original has the same value."""
    here, there = world_of(changed), world_of(original)
    for index in np.ndindex(*here.GetSize()):
        point = here.TransformIndexToPhysicalPoint([int(i) for i in index])
        assert here[tuple(int(i) for i in index)] == there[there.TransformPhysicalPointToIndex(point)]


def world_of(image: Image) -> SimpleITK.Image:
    voxels = image.data[0] if image.geometry.dimension == 3 else image.data[0, 0]
    result = SimpleITK.GetImageFromArray(voxels)
    result.SetSpacing(image.geometry.spacing)
    result.SetOrigin(image.geometry.origin)
    result.SetDirection(image.geometry.direction)
    return result


def test_silent_changes_keep_the_header() -> None:
    for key in ("flip_z_silent", "swap_zy_silent", "swap_zx_silent"):
        damaged = CORRUPTIONS[key].apply(VOLUME, 0, case="a")
        assert damaged.geometry == VOLUME.geometry
        assert damaged.spacing == VOLUME.spacing


def test_pictures_have_no_third_axis_to_flip() -> None:
    keys = {corruption.key for corruption, _ in damages(PICTURE)}
    assert "flip_z_told" not in keys
    assert {"flip_y_told", "swap_yx_silent", "swapped_channels"} <= keys
    with pytest.raises(ValueError, match="no z"):
        space.swap_axes(PICTURE, (1, 0, 2), told=True)


def test_thick_slices_keep_the_mean_of_each_slab() -> None:
    voxels = np.arange(8, dtype=np.float32).reshape(8, 1, 1)
    thick = acquisition.low_resolution(voxels, 4, np.random.default_rng(0))
    # slabs of mean 1.5 and 5.5, centres 1.5 and 5.5: linear between, constant beyond
    assert thick.ravel() == pytest.approx([1.5, 1.5, 2, 3, 4, 5, 5.5, 5.5])


def test_ghosts_leave_the_mean_and_blanks_alone() -> None:
    ghosts = acquisition.ghosting(VOLUME.data[0], 0.9, np.random.default_rng(1))
    assert ghosts.mean() == pytest.approx(VOLUME.data[0].mean(), rel=1e-4)
    blank = np.zeros((2, 3, 4), np.float32)
    for corruption in SUITE:
        if corruption.family == "acquisition":
            assert np.isfinite(corruption.apply(volume(blank), 0, case="a").data).all()
