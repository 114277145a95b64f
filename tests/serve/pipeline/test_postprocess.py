"""Postprocessing against nnU-Net's own function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from nnunet_losses.serve.pipeline.postprocess import MOST_PARTS, Part, parts_of, postprocess
from nnunet_losses.serve.schema import KeepLargest


def nnunets(mask: np.ndarray, steps: list[KeepLargest]) -> np.ndarray:
    from nnunetv2.postprocessing.remove_connected_components import (
        apply_postprocessing,
        remove_all_but_largest_component_from_segmentation,
    )

    arguments: list[dict[str, Any]] = [
        {"labels_or_regions": list(step.values), "background_label": step.background} for step in steps
    ]
    return apply_postprocessing(
        mask, [remove_all_but_largest_component_from_segmentation] * len(steps), arguments
    )


def blobs(seed: int, shape: tuple[int, ...], labels: int) -> np.ndarray:
    """Many components of several labels."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 0.8)
    return np.digitize(noise, np.quantile(noise, np.linspace(0.6, 0.95, labels))).astype(np.uint8)


STEPS = {
    "none": [],
    "one label": [KeepLargest(values=(1,))],
    "all foreground, then each label": [
        KeepLargest(values=values) for values in ((1, 2, 3), (1,), (2,), (3,))
    ],
    "labels in another order": [
        KeepLargest(values=(3,)),
        KeepLargest(values=(1, 3)),
        KeepLargest(values=(2,)),
    ],
    "a region to another label": [KeepLargest(values=(2, 3), background=1)],
    "background itself": [KeepLargest(values=(0,), background=2)],
    "a label that is not there": [KeepLargest(values=(9,))],
}


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("shape", [(14, 15, 16), (1, 30, 40), (2, 3, 40)])
def test_masks_are_nnunets(steps: str, shape: tuple[int, ...]) -> None:
    for seed in range(3):
        mask = blobs(seed, shape, 3)
        found, removed = postprocess(mask.copy(), STEPS[steps])
        np.testing.assert_array_equal(found, nnunets(mask, STEPS[steps]))
        assert found.dtype == mask.dtype
        assert len(removed) == len(STEPS[steps])


def test_corners_connect_and_ties_stay() -> None:
    mask = np.zeros((5, 5, 5), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 1  # connected by a corner
    mask[4, 4, 3:] = 1  # as large
    mask[0, 4, 4] = 1  # smaller
    found, (removed,) = postprocess(mask.copy(), [KeepLargest(values=(1,))])
    np.testing.assert_array_equal(found, nnunets(mask, [KeepLargest(values=(1,))]))
    assert found.sum() == 4
    assert (removed.components, removed.voxels) == (1, 1)


def test_many_ties_stay() -> None:
    mask = np.zeros((1, 9, 9), np.uint8)
    mask[0, ::2, ::2] = 1
    found, (removed,) = postprocess(mask.copy(), [KeepLargest(values=(1,))])
    np.testing.assert_array_equal(found, mask)
    assert removed.components == 0


def test_empty_masks_stay_empty() -> None:
    found, (removed,) = postprocess(np.zeros((3, 4, 5), np.uint16), [KeepLargest(values=(1, 2))])
    assert not found.any()
    assert found.dtype == np.uint16
    assert removed.voxels == 0


def test_every_removed_component_is_described() -> None:
    mask = np.zeros((4, 6, 9), np.uint8)
    mask[0, 0, :5] = 1
    mask[2, 1:3, 2:4] = 2  # four voxels, and a fifth of another label that touches them
    mask[3, 3, 4] = 1
    mask[2, 5, 8] = 1
    _, (removal,) = postprocess(mask, [KeepLargest(values=(1, 2))])
    assert removal.parts == (Part(1, (2.0, 5.0, 8.0), (1,)),)  # of five voxels each, both largest ones stay
    mask[0, 0, 5] = 1
    _, (removal,) = postprocess(mask, [KeepLargest(values=(1, 2))])
    (large,) = removal.parts
    assert (large.voxels, large.values) == (5, (1, 2))
    assert large.place == (2.2, 1.8, 2.8)
    assert (removal.components, removal.voxels) == (1, 5)
    assert not mask[1:].any()


@pytest.mark.parametrize("seed", range(5))
def test_parts_add_up_to_what_was_removed(seed: int) -> None:
    mask = (np.random.default_rng(seed).random((9, 11, 12)) < 0.12).astype(np.uint8)
    before = mask.copy()
    _, (removal,) = postprocess(mask, [KeepLargest(values=(1,))])
    gone = (before > 0) & (mask == 0)
    assert removal.voxels == gone.sum() > 0
    weights = [part.voxels for part in removal.parts]
    assert weights == sorted(weights, reverse=True)
    centroid = np.average([part.place for part in removal.parts], axis=0, weights=weights)
    assert centroid == pytest.approx(np.argwhere(gone).mean(axis=0), abs=0.01)


def test_of_very_many_components_the_small_ones_are_told_together() -> None:
    mask = np.zeros((1, 100, 100), np.uint8)
    mask[0, ::2, ::2] = 1  # 2500 of one pixel each
    mask[0, 50, 51] = 2  # joins two of them
    largest, *others, rest = parts_of(mask, mask > 0)
    assert largest == Part(3, (0.0, 50.0, 51.0), (1, 2))
    assert len(others) == MOST_PARTS - 1
    assert {part.voxels for part in others} == {1}
    assert (rest.components, rest.voxels, rest.values) == (1499, 1499, (1,))
    _, (removal,) = postprocess(mask, [KeepLargest(values=(1, 2))])
    assert (removal.components, removal.voxels) == (2498, 2498)
    assert parts_of(mask, np.zeros(mask.shape, bool)) == ()
