"""Voxels, volume and components of labels."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_losses.serve.measure import count_components, measure_labels
from nnunet_losses.serve.schema import Label

from .images import picture, volume
from .models import description


def mask_of(*boxes: tuple[int, tuple[slice, slice, slice]]) -> np.ndarray:
    mask = np.zeros((10, 12, 14), np.uint8)
    for value, box in boxes:
        mask[box] = value
    return mask


def test_a_label_in_two_parts() -> None:
    mask = mask_of((2, np.s_[0:2, 0:2, 0:2]), (2, np.s_[5:7, 5:7, 5:7]))
    organ, lesion = measure_labels(mask, volume(mask, (2.0, 1.0, 0.5)).geometry, description())
    assert (organ.present, organ.voxels, organ.volume_ml, organ.components) == (False, 0, 0.0, 0)
    assert (lesion.name, lesion.present, lesion.voxels, lesion.components) == ("lesion", True, 16, 2)
    assert lesion.volume_ml == pytest.approx(16 * 1.0 / 1000)


def test_voxels_that_share_a_corner_are_one_part() -> None:
    corners = mask_of((1, np.s_[0:1, 0:1, 0:1]), (1, np.s_[1:2, 1:2, 1:2]))
    assert count_components(corners == 1) == 1
    apart = mask_of((1, np.s_[0:1, 0:1, 0:1]), (1, np.s_[2:3, 2:3, 2:3]))
    assert count_components(apart == 1) == 2


def test_a_region_consists_of_its_members() -> None:
    regions = (
        Label(name="whole", channel=0, value=1, members=(1, 2)),
        Label(name="core", channel=1, value=2, members=(2,)),
    )
    mask = mask_of((1, np.s_[0:4, 0:4, 0:4]), (2, np.s_[1:3, 1:3, 1:3]))
    whole, core = measure_labels(mask, volume(mask).geometry, description(labels=regions))
    assert (whole.voxels, whole.components) == (64, 1)
    assert (core.voxels, core.components) == (8, 1)


def test_a_picture_has_no_volume() -> None:
    mask = mask_of((1, np.s_[0:1, 0:3, 0:3]))[:1]
    organ, _ = measure_labels(mask, picture(mask).geometry, description())
    assert (organ.voxels, organ.volume_ml, organ.components) == (9, None, 1)


def test_a_label_value_that_the_masks_type_cannot_hold() -> None:
    labels = (Label(name="far", channel=1, value=300, members=(300,)),)
    mask = np.full((1, 3, 3), 300, np.uint16)
    (far,) = measure_labels(mask, volume(mask).geometry, description(labels=labels))
    assert far.voxels == 9


def test_many_single_voxels_are_counted() -> None:
    grid = np.zeros((1, 9, 9), bool)
    grid[:, ::2, ::2] = True
    assert count_components(grid) == 25
