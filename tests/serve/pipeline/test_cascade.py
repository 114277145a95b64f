"""Labels of a cascade's previous stage against nnU-Net's own resampling and preprocessing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from nnunet_losses.serve.pipeline.cascade import PreviousStage, resample_labels
from nnunet_losses.serve.pipeline.preprocess import preprocess
from nnunet_losses.serve.schema import LabelResampling, Member, ModelDescription
from tests.models import ModelFolderSpec, dataset_json, plans

from .reference import description, make_image

if TYPE_CHECKING:
    from collections.abc import Sequence

ISOTROPIC, COARSE = (1.0, 1.0, 1.0), (5.0, 1.0, 1.0)
WAYS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Any, Any]] = {
    "doubled: a tie at every border": ((6, 7, 8), (12, 14, 16), ISOTROPIC, (0.5, 0.5, 0.5)),
    "tripled": ((5, 4, 6), (15, 12, 18), ISOTROPIC, (1 / 3,) * 3),
    "any shape": ((9, 13, 7), (12, 9, 16), ISOTROPIC, (0.8, 1.4, 0.5)),
    "smaller": ((20, 22, 18), (9, 8, 11), ISOTROPIC, (2.2, 2.7, 1.6)),
    "one axis alone": ((8, 9, 10), (8, 9, 15), ISOTROPIC, (1.0, 1.0, 0.66)),
    "the same shape": ((8, 9, 10), (8, 9, 10), ISOTROPIC, ISOTROPIC),
    "coarse first axis": ((5, 12, 10), (9, 24, 20), COARSE, (2.5, 0.5, 0.5)),
    "coarse second axis": ((12, 5, 10), (24, 8, 13), (1.0, 5.0, 1.0), (0.5, 3.0, 0.8)),
    "coarse last axis, which stays": ((12, 10, 5), (24, 15, 5), (1.0, 1.0, 5.0), (0.5, 0.7, 5.0)),
    "coarse after resampling": ((14, 12, 10), (4, 24, 20), (1.6, 1.0, 1.0), (5.5, 0.5, 0.5)),
}


def nnunets(labels: np.ndarray, target: Sequence[int], spacings: Any, way: LabelResampling) -> np.ndarray:
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    arguments = way.model_dump(exclude={"function"})
    return resample_data_or_seg_to_shape(labels[None], target, *spacings, is_seg=True, **arguments)[0]


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("blocks", ["voxels", "blobs"])
@pytest.mark.parametrize("way", WAYS)
def test_labels_are_resampled_as_by_nnunet(way: str, blocks: str, order: Any) -> None:
    shape, target, *spacings = WAYS[way]
    noise = np.random.default_rng(3).standard_normal(shape)
    smooth = noise if blocks == "voxels" else ndimage.gaussian_filter(noise, 1.2)
    labels = np.digitize(smooth, np.quantile(smooth, [0.2, 0.5, 0.7])).astype(np.int16) - 1
    resampling = LabelResampling(order=order)
    expected = nnunets(labels, target, spacings, resampling)
    found = resample_labels(labels.astype(np.int32), target, (spacings[0], spacings[1]), resampling)
    np.testing.assert_array_equal(found, expected)


def test_large_volumes_go_slab_by_slab(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunet_losses.serve.pipeline import cascade

    labels = np.random.default_rng(0).integers(-1, 3, (7, 6, 5)).astype(np.int32)
    resample = partial(
        resample_labels, labels, (13, 12, 9), (ISOTROPIC, (0.5,) * 3), LabelResampling(order=1)
    )
    whole = resample()
    monkeypatch.setattr(cascade, "_VOXELS", 1)
    monkeypatch.setattr(cascade, "_POINTS", 7)
    np.testing.assert_array_equal(resample(), whole)


CASCADES = {
    "plain": ModelFolderSpec(),
    "masked normalisation: labelled voxels count as inside": ModelFolderSpec(use_mask=(True,)),
    "transposed and coarse": ModelFolderSpec(
        transpose_forward=(2, 0, 1), spacing=(4.0, 1.0, 1.3), use_mask=(True,)
    ),
    "regions": ModelFolderSpec(
        labels={"background": 0, "whole": [1, 2, 4], "core": [2, 4], "tip": 4, "ignore": 5},
        regions_class_order=(1, 2, 4),
    ),
}


def nnunets_input(image: Any, mask: np.ndarray, spec: ModelFolderSpec) -> np.ndarray:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans(spec))
    configuration = manager.get_configuration(spec.configuration)
    data, seg, _ = DefaultPreprocessor(verbose=False).run_case_npy(
        image.data, mask[None], {"spacing": image.spacing}, manager, configuration, dataset_json(spec)
    )
    labels = manager.get_label_manager(dataset_json(spec)).foreground_labels
    return np.vstack((data, convert_labelmap_to_one_hot(seg[0], labels, data.dtype)))


@pytest.mark.parametrize("name", CASCADES)
def test_network_input_is_nnunets(name: str) -> None:
    spec = CASCADES[name]
    rng = np.random.default_rng(5)
    data = 100 * ndimage.gaussian_filter(rng.standard_normal((1, 14, 15, 16)), (0, 2, 2, 2))
    data[:, :3] = data[:, :, -4:] = 0
    data[:, 6, 6:9, 2] = 0  # open to the border: outside the filled region
    data[:, 6:9, 6:9, :4] = 0
    image = make_image(data, (1.3, 0.9, 1.1))
    content = ModelDescription.model_validate(description(spec))
    values = content.foreground_values
    smooth = ndimage.gaussian_filter(rng.standard_normal(data.shape[1:]), 1)
    mask = np.array([0, *values])[
        np.digitize(smooth, np.quantile(smooth, np.linspace(0.5, 0.9, len(values))))
    ]
    plan = content.members[0].preprocessing.model_copy(update={"resampling_labels": LabelResampling(order=1)})
    member: Member = content.members[0].model_copy(update={"preprocessing": plan})
    found = preprocess(image, member, PreviousStage(mask.astype(np.uint8), values))
    expected = nnunets_input(image, mask.astype(np.int16), spec)
    assert found.data.shape == expected.shape == (1 + len(values), *found.data.shape[1:])
    np.testing.assert_allclose(found.data[:1], expected[:1], rtol=0, atol=1e-5 * np.ptp(expected[:1]))
    np.testing.assert_array_equal(found.data[1:], expected[1:])
    assert all(channel.any() for channel in expected[1:])
