"""The nonzero region against SciPy and nnU-Net."""

from __future__ import annotations

import numpy as np
import pytest
from acvl_utils.cropping_and_padding.bounding_boxes import get_bbox_from_mask
from scipy import ndimage

from nnunet_losses.serve.pipeline import nonzero as room
from nnunet_losses.serve.pipeline.nonzero import bounding_box, fill_holes, nonzero, nonzero_box
from nnunet_losses.serve.pipeline.parallel import Workers


@pytest.mark.parametrize("density", [0.02, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 12, 15), (9, 1, 8), (3, 3, 3), (14, 11, 17)])
def test_holes_are_scipys(shape: tuple[int, ...], density: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        mask = rng.random(shape) < density
        before = mask.copy()
        np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))
        np.testing.assert_array_equal(mask, before)


def test_a_hole_that_only_an_edge_connects_with_the_outside_is_filled() -> None:
    mask = np.ones((3, 4, 4), bool)
    mask[1, 1, 1] = mask[1, 0, 0] = False
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))
    assert fill_holes(mask)[1, 1, 1]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_box_is_nnunets(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_VOXELS", 200)  # several chunks
    rng = np.random.default_rng(4)
    with Workers(threads) as workers:
        for channels in (1, 3):
            data = np.zeros((channels, 12, 9, 15), np.float32)
            for channel in range(channels):
                z, y, x = rng.integers((1, 1, 1), (12, 9, 15))
                data[channel, z, y, x] = -1
            expected = get_bbox_from_mask((data != 0).any(axis=0))
            box = nonzero_box(data, workers)
            assert [[side.start, side.stop] for side in box] == expected
            assert bounding_box(nonzero(data)) == box
            assert nonzero_box(np.zeros_like(data), workers) == (slice(0, 12), slice(0, 9), slice(0, 15))
