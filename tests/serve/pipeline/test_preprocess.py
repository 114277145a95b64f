"""Preprocessing against nnU-Net's DefaultPreprocessor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.pipeline.nonzero import bounding_box
from nnunet_losses.serve.pipeline.preprocess import preprocess, resampled_shape
from nnunet_losses.serve.schema import Member
from tests.models import ModelFolderSpec

from .reference import description, make_image, nnunet_preprocess

SCHEMES = (
    "CTNormalization",
    "ZScoreNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
THREE = ModelFolderSpec(
    channels=("a", "b", "c"), normalization=("ZScoreNormalization",) * 3, use_mask=(True, False, True)
)
CASES: dict[str, tuple[ModelFolderSpec, tuple[int, ...], tuple[float, float, float]]] = {
    **{
        scheme: (ModelFolderSpec(normalization=(scheme,)), (1, 19, 24, 17), (1.4, 0.7, 1.0))
        for scheme in SCHEMES
    },
    "several channels, with and without mask": (THREE, (3, 19, 24, 17), (1.4, 0.7, 1.0)),
    "coarse axis 0": (ModelFolderSpec(spacing=(4.0, 1.0, 1.0)), (1, 9, 24, 31), (5.0, 0.8, 0.7)),
    "coarse axis 1": (ModelFolderSpec(spacing=(1.0, 1.0, 1.0)), (1, 24, 9, 31), (0.8, 5.0, 0.7)),
    "coarse axis 2": (ModelFolderSpec(spacing=(1.0, 1.0, 6.0)), (1, 24, 31, 9), (0.8, 1.0, 0.7)),
    "two coarse axes": (ModelFolderSpec(spacing=(1.0, 1.0, 1.0)), (1, 9, 10, 31), (4.0, 4.0, 0.7)),
    "transposed": (
        ModelFolderSpec(spacing=(4.0, 1.0, 0.9), transpose_forward=(2, 0, 1)),
        (1, 25, 31, 8),
        (0.8, 0.7, 5.0),
    ),
    "transposed, mask": (
        THREE.but(transpose_forward=(1, 2, 0)),
        (3, 15, 16, 17),
        (0.8, 1.0, 1.2),
    ),
    "smaller than the patch": (ModelFolderSpec(), (1, 5, 6, 7), (1.0, 1.0, 1.0)),
    "single voxels": (ModelFolderSpec(), (1, 9, 7, 6), (1.0, 0.3, 3.0)),
    "slices of a volume": (
        ModelFolderSpec(patch_size=(16, 16), spacing=(0.9, 1.1)),
        (1, 7, 21, 30),
        (3.5, 0.8, 1.3),
    ),
    "slices of a transposed volume": (
        ModelFolderSpec(patch_size=(16, 16), spacing=(0.9, 1.1), transpose_forward=(1, 0, 2)),
        (1, 21, 7, 30),
        (0.8, 3.5, 1.3),
    ),
    "picture": (ModelFolderSpec(patch_size=(16, 16), spacing=(1.0, 1.0)), (1, 1, 40, 33), (999.0, 1.0, 1.0)),
    "picture at another spacing": (
        ModelFolderSpec(patch_size=(16, 16), spacing=(0.7, 0.7)),
        (1, 1, 40, 33),
        (999 * 0.9, 0.5, 0.9),
    ),
}


def member(spec: ModelFolderSpec) -> Member:
    return Member.model_validate(description(spec)["members"][0])


def draw(shape: tuple[int, ...]) -> np.ndarray:
    """Values of 8-bit pictures, zero at the border and in a hole; channels differ in where they are zero."""
    rng = np.random.default_rng(7)
    data = np.round(rng.gamma(4, 20, shape)).clip(0, 255)
    data[..., :2, :] = 0
    data[..., -3:] = 0
    data[0, ..., 4:6, 3:5] = 0
    if shape[1] > 4:
        data[:, 0] = 0
        data[0, 1] = 0
    return data


@pytest.mark.parametrize("name", CASES)
def test_input_equals_nnunet(name: str) -> None:
    spec, shape, spacing = CASES[name]
    image = make_image(draw(shape), spacing)
    before = image.data.copy()
    expected, properties = nnunet_preprocess(image, spec)
    result = preprocess(image, member(spec))
    assert result.data.shape == expected.shape
    np.testing.assert_allclose(result.data, expected, rtol=1e-6, atol=1e-6)
    assert [[side.start, side.stop] for side in result.box] == properties["bbox_used_for_cropping"]
    assert result.cropped_shape == properties["shape_after_cropping_and_before_resampling"]
    assert result.uncropped_shape == properties["shape_before_cropping"]
    np.testing.assert_array_equal(image.data, before)


def test_without_resampling_the_input_equals_nnunet_to_the_last_bit() -> None:
    image = make_image(draw((3, 15, 16, 17)), (1.0, 1.0, 1.0))
    expected, _ = nnunet_preprocess(image, THREE)
    np.testing.assert_array_equal(preprocess(image, member(THREE)).data, expected)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_images(scheme: str, value: float) -> None:
    spec = ModelFolderSpec(normalization=(scheme,), use_mask=(True,))
    image = make_image(np.full((1, 6, 7, 8), value), (1.0, 1.0, 1.5))
    if value == 0 and scheme == "ZScoreNormalization":
        spec = spec.but(use_mask=(False,))  # nnU-Net takes the mean of no voxel
    expected, _ = nnunet_preprocess(image, spec)
    np.testing.assert_allclose(preprocess(image, member(spec)).data, expected, atol=1e-6)


def test_a_blank_image_under_a_mask_stays_zero() -> None:
    spec = ModelFolderSpec(use_mask=(True,))
    image = make_image(np.zeros((1, 6, 7, 8)), (1.0, 1.0, 1.0))
    assert not preprocess(image, member(spec)).data.any()


def test_holes_belong_to_the_masked_region() -> None:
    spec = ModelFolderSpec(use_mask=(True,))
    data = np.ones((1, 8, 8, 8)) + np.arange(8)
    data[0, 3:5, 3:5, 3:5] = 0  # enclosed: counts
    data[0, 0, 0] = 0  # at the border: stays zero
    result = preprocess(make_image(data, (1.0, 1.0, 1.0)), member(spec)).data
    assert (result[0, 3:5, 3:5, 3:5] != 0).all()
    assert not result[0, 0, 0].any()


@pytest.mark.parametrize("name", CASES)
def test_resampled_shape_is_exact_after_cropping_and_bounds_it_before(name: str) -> None:
    spec, shape, spacing = CASES[name]
    result = preprocess(make_image(draw(shape), spacing), member(spec))
    forward = spec.transpose_forward
    cropped = [result.cropped_shape[forward.index(axis)] for axis in range(3)]
    assert resampled_shape(cropped, spacing, member(spec)) == result.data.shape[1:]
    bound = resampled_shape(shape[1:], spacing, member(spec))
    assert all(whole >= part for whole, part in zip(bound, result.data.shape[1:], strict=True))


def test_bounding_box_of_nothing_is_everything() -> None:
    assert bounding_box(np.zeros((2, 3, 4), bool)) == (slice(0, 2), slice(0, 3), slice(0, 4))


@pytest.mark.parametrize(
    ("shape", "spacing", "scheme", "code"),
    [
        ((2, 6, 6, 6), (1.0, 1.0, 1.0), "NoNormalization", Code.CONTRACT_CHANNEL_COUNT),
        ((1, 6, 1, 6), (1.0, 0.1, 1.0), "NoNormalization", Code.CONTRACT_SIZE),
        ((1, 6, 6, 6), (1.0, 1.0, 1.0), "RGBTo01Normalization", Code.CONTRACT_VALUE_RANGE),
    ],
)
def test_refusals(shape: Any, spacing: Any, scheme: str, code: Code) -> None:
    image = make_image(np.full(shape, 256.0), spacing)
    with pytest.raises(Refusal) as refusal:
        preprocess(image, member(ModelFolderSpec(normalization=(scheme,))))
    assert refusal.value.code is code
