"""The resampler against nnU-Net's ``resample_data_or_seg_to_shape``, and the masks made from logits."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from scipy import ndimage

from nnunet_losses.serve.pipeline import bricks, slabs
from nnunet_losses.serve.pipeline.half import largest_magnitude
from nnunet_losses.serve.pipeline.interpolation import resize_axis
from nnunet_losses.serve.pipeline.labels import SIGMOID_THRESHOLD, label_mask, mask_dtype
from nnunet_losses.serve.pipeline.points import sample
from nnunet_losses.serve.pipeline.resample import Resize, coarse_axis, new_shape, plan_resize, resample_image
from nnunet_losses.serve.schema import Head, Resampling

SHAPES = [
    ((12, 14, 16), (20, 9, 33)),
    ((30, 8, 8), (7, 16, 24)),
    ((5, 1, 7), (9, 1, 3)),
    ((20, 20, 20), (20, 31, 20)),
    ((1, 20, 30), (1, 41, 30)),
    ((2, 3, 1), (7, 9, 4)),
    ((9, 8, 7), (1, 1, 1)),
]
SPACINGS = [
    ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    ((5.0, 1.0, 1.0), (4.0, 1.0, 1.0)),
    ((1.0, 5.0, 1.0), (1.0, 1.0, 1.0)),
    ((1.0, 1.0, 1.0), (1.0, 1.0, 4.0)),
    ((5.0, 5.0, 1.0), (1.0, 1.0, 1.0)),
]


def both(
    data: np.ndarray, target: tuple[int, ...], spacings: Any, settings: dict[str, Any]
) -> tuple[np.ndarray, Resize]:
    """nnU-Net's result, and our way to it."""
    reference = resample_data_or_seg_to_shape(data, target, *spacings, is_seg=False, **settings)
    return reference, plan_resize(data.shape[1:], target, spacings, Resampling(**settings))


@pytest.mark.parametrize("spacings", SPACINGS)
@pytest.mark.parametrize(("shape", "target"), SHAPES)
def test_images_equal_nnunet(
    shape: tuple[int, ...], target: tuple[int, ...], spacings: tuple[Any, Any]
) -> None:
    rng = np.random.default_rng(1)
    image = (50 * rng.standard_normal((2, *shape))).astype(np.float32)
    for order, order_z in product((0, 1, 3), (0, 1, 3)):
        settings = {"order": order, "order_z": order_z, "force_separate_z": None}
        reference, resize = both(image, target, spacings, settings)
        np.testing.assert_allclose(resample_image(image, resize), reference, rtol=2e-7, atol=1e-5)
        exact, _ = both(image.astype(np.float64), target, spacings, settings)
        for channel, volume in enumerate(image.astype(np.float64)):
            difference = resize(volume, resize.limits(volume)) - exact[channel]
            assert np.abs(difference).max() < 1e-11


def test_cubic_results_stay_within_the_range_of_each_slice() -> None:
    image = np.zeros((1, 3, 16, 16), np.float32)
    image[0, 1, 8:] = 1000
    resize = plan_resize((3, 16, 16), (3, 33, 33), ((9, 1, 1), (9, 0.5, 0.5)), Resampling(order=3))
    result = resample_image(image, resize)[0]
    assert result[0].max() == 0
    assert result[1].min() == 0
    assert result[1].max() == 1000


def test_nothing_is_touched_where_shapes_are_equal() -> None:
    image = np.random.default_rng(0).random((1, 4, 5, 6), np.float32)
    resize = plan_resize((4, 5, 6), (4, 5, 6), ((1, 1, 1), (1.01, 1, 1)), Resampling(order=3))
    assert resample_image(image, resize) is image


def test_matrices_have_no_denormals() -> None:
    weights = resize_axis(300, 200, 3).weights
    assert weights is not None
    assert np.abs(weights[weights != 0]).min() > np.finfo(np.float32).tiny


@pytest.mark.parametrize("force", [None, True, False])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (3, 1, 1), (3.01, 1, 1), (1, 9, 1), (1, 1, 4), (5, 5, 1)])
@pytest.mark.parametrize("new_spacing", [(1, 1, 1), (1, 4, 1), (2, 2, 7), (999, 1, 1)])
def test_coarse_axis_equals_nnunet(spacing: Any, new_spacing: Any, force: bool | None) -> None:
    separate, axis = determine_do_sep_z_and_axis(force, spacing, new_spacing)
    assert coarse_axis(spacing, new_spacing, force=force) == (axis if separate else None)


def test_new_shape_equals_nnunet() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        shape = rng.integers(1, 600, 3)
        # quarters make exact halves, where rounding to even shows
        old, new = rng.integers(1, 12, 3) / 4, rng.integers(1, 12, 3) / 4
        assert new_shape(shape.tolist(), old.tolist(), new.tolist()) == tuple(
            compute_new_shape(shape, old, new)
        )


def decision(head: Head, heads: int) -> Any:
    """What label_mask reads of a bundle's description."""
    first = 1 if head is Head.SOFTMAX else 0
    values = range(1, heads) if head is Head.SOFTMAX else np.roll(np.arange(1, heads + 1), 1).tolist()
    entries = [
        SimpleNamespace(channel=index, value=value, members=(value,))
        for index, value in enumerate(values, start=first)
    ]
    return SimpleNamespace(head=head, labels=entries[::-1])  # the order of entries must not matter


def nnunet_labels(resampled: np.ndarray, description: Any) -> np.ndarray:
    """nnU-Net's convert_logits_to_segmentation."""
    import torch

    if description.head is Head.SOFTMAX:
        return resampled.argmax(axis=0)
    inside = torch.sigmoid(torch.from_numpy(resampled).float()).numpy() > 0.5
    mask = np.zeros(resampled.shape[1:], np.uint16)
    for label in sorted(description.labels, key=lambda label: label.channel):
        mask[inside[label.channel]] = label.value
    return mask


@pytest.mark.parametrize("head", Head)
@pytest.mark.parametrize("scale", [1e-6, 30.0])
@pytest.mark.parametrize(("shape", "target"), SHAPES[:4])
def test_masks_equal_nnunet_in_every_voxel(
    shape: Any, target: Any, scale: float, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slabs, "_VOXELS", 1500)  # several slabs
    rng = np.random.default_rng(2)
    logits = (scale * rng.standard_normal((4, *shape))).astype(np.float16)
    logits[2] = logits[1]  # ties
    logits[3, :, : shape[1] // 2] = 0
    description = decision(head, 4)
    for spacings, (order, order_z) in product(SPACINGS, [(0, 0), (1, 0), (1, 1)]):
        settings = {"order": order, "order_z": order_z, "force_separate_z": None}
        reference, resize = both(logits, target, spacings, settings)
        np.testing.assert_array_equal(
            label_mask(logits, resize, description), nnunet_labels(reference, description)
        )


@pytest.mark.parametrize("spacings", SPACINGS)
def test_masks_from_cubic_logits_equal_nnunet(spacings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "_VOXELS", 1500)
    shape, target = SHAPES[0]
    logits = (30 * np.random.default_rng(2).standard_normal((4, *shape))).astype(np.float16)
    for (order, order_z), head in product([(3, 0), (3, 1), (1, 3), (3, 3)], Head):
        description = decision(head, 4)
        settings = {"order": order, "order_z": order_z, "force_separate_z": None}
        reference, resize = both(logits, target, spacings, settings)
        np.testing.assert_array_equal(
            label_mask(logits, resize, description), nnunet_labels(reference, description)
        )


@pytest.mark.parametrize(("shape", "target"), SHAPES)
def test_single_voxels_equal_scipy_to_the_last_bit(shape: Any, target: Any) -> None:
    volume = np.random.default_rng(3).standard_normal(shape)
    for order in (0, 1):
        resize = plan_resize(shape, target, SPACINGS[0], Resampling(order=order))
        factors = [new / old for old, new in zip(shape, target, strict=True)]
        expected = ndimage.zoom(volume, factors, order=order, mode="nearest", grid_mode=True)
        result = sample(volume[np.newaxis], resize, np.ix_(*map(np.arange, target)))
        np.testing.assert_array_equal(result[0], expected)


def test_only_doubtful_voxels_are_decided_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    voxels: list[int] = []

    def counting(logits: Any, resize: Any, places: Any) -> Any:
        voxels.append(len(places[0]))
        return sample(logits, resize, places)

    monkeypatch.setattr(bricks, "sample", counting)
    rng = np.random.default_rng(4)
    logits = (10 * rng.standard_normal((3, 20, 20, 20))).astype(np.float16)
    settings = {"order": 1, "order_z": 0, "force_separate_z": None}
    reference, resize = both(logits, (31, 27, 40), SPACINGS[0], settings)
    description = decision(Head.SOFTMAX, 3)
    np.testing.assert_array_equal(label_mask(logits, resize, description), reference.argmax(axis=0))
    assert 0 < sum(voxels) < 0.01 * reference[0].size


def test_float32_logits_are_not_rounded_to_float16() -> None:
    logits = np.ones((2, 4, 4, 4), np.float32)
    logits[1] += 1e-4
    resize = plan_resize((4, 4, 4), (6, 6, 6), SPACINGS[0], Resampling(order=1))
    assert label_mask(logits, resize, decision(Head.SOFTMAX, 2)).all()
    assert not label_mask(logits.astype(np.float16), resize, decision(Head.SOFTMAX, 2)).any()


def test_sigmoid_threshold_is_torchs() -> None:
    import torch

    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    inside = torch.sigmoid(torch.from_numpy(halves).float()).numpy() > 0.5
    np.testing.assert_array_equal(halves >= SIGMOID_THRESHOLD, inside)


def test_mask_type_follows_the_number_of_labels() -> None:
    assert mask_dtype(decision(Head.SOFTMAX, 255)) is np.uint8
    assert mask_dtype(decision(Head.SOFTMAX, 256)) is np.uint16
    many = np.zeros((300, 1, 1, 2), np.float16)
    many[299, 0, 0, 1] = 1
    resize = plan_resize((1, 1, 2), (1, 1, 2), SPACINGS[0], Resampling(order=1))
    assert label_mask(many, resize, decision(Head.SOFTMAX, 300)).tolist() == [[[0, 299]]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, -3], 3),
        ([-2, -1], 2),
        ([0, 0], 0),
        ([np.inf, 1], np.inf),
        ([-np.inf, 1], np.inf),
        ([np.nan, 1], np.inf),
    ],
)
def test_largest_magnitude(values: list[float], expected: float, dtype: Any) -> None:
    assert largest_magnitude(np.array(values, dtype)) == expected
