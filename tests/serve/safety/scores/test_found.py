"""What a mask holds, and what is pooled over tiles."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_losses.serve.pipeline.preprocess import Preprocessed
from nnunet_losses.serve.pipeline.stitch import Tiles
from nnunet_losses.serve.safety.scores.found import body_box, observe_mask
from nnunet_losses.serve.safety.scores.pooling import TileGrid, foreground_weights, pooled
from nnunet_losses.serve.schema import Label, Tiling

from ...images import picture, volume
from .cases import LABELS

BODY = (slice(0, 4), slice(0, 8), slice(2, 10))


def test_a_mask_by_hand() -> None:
    mask = np.zeros((4, 8, 12), np.uint8)
    mask[0, 0, 2] = 1
    mask[3, 7, 9] = 1
    found = observe_mask(mask, LABELS, volume(mask, (3.0, 2.0, 0.5)).geometry, BODY)
    assert found.volumes.tolist() == [6.0, 0.0]
    assert found.components.tolist() == [2.0, 0.0]
    assert found.places[0] == pytest.approx([0.5, 0.5, 0.5])  # between two opposite corners of the body
    assert np.isnan(found.places[1]).all()


def test_a_region_is_all_of_its_values() -> None:
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[0, 0] = [1, 0, 0, 3]
    region = Label(name="whole", channel=0, value=1, members=(1, 3))
    found = observe_mask(mask, [region], picture(mask[0]).geometry, (slice(0, 1), slice(0, 4), slice(0, 4)))
    assert found.volumes.tolist() == [2.0]  # square millimetres
    assert found.components.tolist() == [2.0]
    assert found.places[0] == pytest.approx([0.5, 0.125, 0.5])


def test_an_empty_mask_and_no_labels() -> None:
    mask = np.zeros((4, 8, 12), np.uint8)
    geometry = volume(mask).geometry
    assert observe_mask(mask, LABELS, geometry, BODY).volumes.tolist() == [0, 0]
    assert observe_mask(mask, [], geometry, BODY).places.shape == (0, 3)


def test_the_place_does_not_depend_on_resolution() -> None:
    mask = np.zeros((4, 8, 8), np.uint8)
    mask[1:3, 2:7, 3:5] = 1
    fine = mask.repeat(2, 0).repeat(3, 1)
    boxes = [tuple(slice(0, size) for size in array.shape) for array in (mask, fine)]
    coarse = observe_mask(mask, LABELS, volume(mask, (2.0, 3.0, 1.0)).geometry, boxes[0])
    finer = observe_mask(fine, LABELS, volume(fine, (1.0, 1.0, 1.0)).geometry, boxes[1])
    assert coarse.places[0] == pytest.approx(finer.places[0])
    assert coarse.volumes == pytest.approx(finer.volumes)


def test_the_body_is_in_the_images_axis_order() -> None:
    sides = (slice(0, 1), slice(2, 3), slice(4, 5))
    # the network's first axis is the image's last
    assert body_box(sides, (2, 0, 1)) == (sides[1], sides[2], sides[0])


def test_pooling_is_a_weighted_mean() -> None:
    tiles = {"a": np.array([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]], np.float32)}
    weighted = pooled(tiles, np.array([1.0, 3.0, 0.0]))
    assert weighted is not None
    assert weighted["a"].tolist() == [2.5, 3.5]
    shuffled = pooled({"a": tiles["a"][[2, 0, 1]]}, np.array([0.0, 1.0, 3.0]))
    assert shuffled is not None
    assert shuffled["a"].tolist() == [2.5, 3.5]


def test_nothing_to_pool() -> None:
    assert pooled({}) is None
    assert pooled({"a": np.ones((2, 3))}, np.zeros(2)) is None
    with pytest.raises(ValueError, match="2 tiles, but there are 3 weights"):
        pooled({"a": np.ones((2, 3))}, np.ones(3))


def preprocessed_of(shape: tuple[int, ...], box: tuple[slice, slice, slice]) -> Preprocessed:
    return Preprocessed(np.zeros((1, *shape), np.float32), (99,) * 3, box, (1.0,) * 3, (1.0,) * 3)


def test_foreground_of_tiles_at_the_images_resolution() -> None:
    mask = np.zeros((4, 6, 8), np.uint8)
    mask[:, 1:5, 2:4] = 3  # first half of the box, all of it
    prepared = preprocessed_of((4, 4, 4), (slice(0, 4), slice(1, 5), slice(2, 6)))
    tiles = Tiles.cut(prepared.data, Tiling(patch_size=(4, 4, 2), step_size=1.0))
    assert foreground_weights(mask, TileGrid.of(prepared, tiles, (0, 1, 2))).tolist() == [1.0, 0.0]


def test_foreground_of_tiles_at_another_resolution_turned_and_padded() -> None:
    mask = np.zeros((2, 2, 8), np.uint8)  # the network's first axis is the image's last
    mask[:, :, 4:] = 1
    prepared = preprocessed_of((16, 4, 4), (slice(0, 8), slice(0, 2), slice(0, 2)))
    tiles = Tiles.cut(prepared.data, Tiling(patch_size=(8, 8, 4), step_size=1.0))
    grid = TileGrid.of(prepared, tiles, (2, 0, 1))
    assert foreground_weights(mask, grid).tolist() == [0.0, 1.0]
    assert grid.voxels(1) == ((0, 2), (0, 2), (4, 8))


def test_foreground_of_slices() -> None:
    mask = np.zeros((3, 4, 4), np.uint8)
    mask[1, :2] = 1
    prepared = preprocessed_of((3, 4, 4), (slice(0, 3), slice(0, 4), slice(0, 4)))
    tiles = Tiles.cut(prepared.data, Tiling(patch_size=(4, 4), step_size=1.0))
    assert foreground_weights(mask, TileGrid.of(prepared, tiles, (0, 1, 2))).tolist() == [0.0, 0.5, 0.0]
