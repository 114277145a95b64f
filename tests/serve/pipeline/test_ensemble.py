"""The mean of probabilities against nnU-Net's own export and ensembling functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from nnunet_losses.serve.pipeline import slabs
from nnunet_losses.serve.pipeline.ensemble import Vote, average_mask, decision_margins
from nnunet_losses.serve.pipeline.preprocess import preprocess
from nnunet_losses.serve.pipeline.resample import plan_resize
from nnunet_losses.serve.pipeline.stage import Frame
from nnunet_losses.serve.schema import ModelDescription
from tests.models import ModelFolderSpec, dataset_json, plans

from .reference import description, make_image, nnunet_preprocess

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.image import Image

LABELS = {"background": 0, "a": 1, "b": 2, "c": 3}
BASE = ModelFolderSpec(labels=LABELS)
REGIONS = ModelFolderSpec(
    labels={"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": 3}, regions_class_order=(1, 3, 2)
)
FLAT = BASE.but(patch_size=(16, 16), spacing=(1.3, 0.7))
CUBIC = BASE.but(
    configuration_overrides={
        "resampling_fn_probabilities_kwargs": {
            "is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None
        }
    }
)  # fmt: skip
TEAMS: dict[str, tuple[ModelFolderSpec, ...]] = {
    "finer and coarser": (BASE.but(spacing=(0.8, 0.8, 0.8)), BASE.but(spacing=(2.0, 1.7, 1.9))),
    "2D and 3D, one as it is": (FLAT, BASE.but(spacing=(1.2, 0.9, 1.1))),
    "other axes, one coarse": (
        BASE.but(transpose_forward=(2, 0, 1), spacing=(1.0, 1.2, 0.8)),
        BASE.but(transpose_forward=(1, 2, 0), spacing=(4.0, 1.0, 1.0)),
        BASE,
    ),
    "regions": (REGIONS.but(spacing=(0.8, 0.8, 0.8)), REGIONS.but(transpose_forward=(0, 2, 1))),
    "clipped": (CUBIC.but(spacing=(1.0, 4.0, 1.0)), BASE.but(spacing=(2.0, 2.0, 2.0))),
}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One configuration's logits of an image, and what nnU-Net makes of them."""

    vote: Vote
    frame: Frame
    probabilities: np.ndarray
    labels: Any


def predicted(spec: ModelFolderSpec, image: Image, seed: int, scale: float) -> Member:
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape,
    )
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    content = ModelDescription.model_validate(description(spec))
    member = content.members[0]
    found = preprocess(image, member)
    noise = np.random.default_rng(seed).standard_normal((content.heads, *found.data.shape[1:]))
    logits = (scale * ndimage.gaussian_filter(noise, (0, 1.5, 1.5, 1.5))).astype(np.float16)
    manager = PlansManager(plans(spec))
    labels = manager.get_label_manager(dataset_json(spec))
    properties = {"spacing": image.spacing} | nnunet_preprocess(image, spec)[1]
    _, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, manager, manager.get_configuration(spec.configuration), labels, properties,
        return_probabilities=True, num_threads_torch=1,
    )  # fmt: skip
    plan = member.preprocessing
    spacings = (found.network_spacing, found.spacing)
    resize = plan_resize(logits.shape[1:], found.cropped_shape, spacings, plan.resampling_logits)
    vote = Vote(logits, resize, plan.transpose_forward)
    frame = Frame(found.uncropped_shape, found.box, plan.transpose_forward)
    return Member(vote, frame, probabilities, labels)


def averaged(members: list[Member], folder: Path) -> np.ndarray:
    """As ``nnUNetv2_ensemble`` does, files included."""
    from nnunetv2.ensembling.ensemble import average_probabilities

    for index, member in enumerate(members):
        np.savez(folder / f"{index}.npz", probabilities=member.probabilities)
    return average_probabilities([str(folder / f"{index}.npz") for index in range(len(members))])


@pytest.mark.parametrize("scale", [3.0, 40.0, 400.0])
@pytest.mark.parametrize("team", TEAMS)
def test_masks_are_nnunets(team: str, scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "_VOXELS", 700)  # several slabs
    rng = np.random.default_rng(4)
    data = 100 * ndimage.gaussian_filter(rng.standard_normal((1, 15, 17, 19)), (0, 1, 1, 1))
    data[:, :2] = data[..., -3:] = 0
    image = make_image(data, (1.2, 0.9, 1.0))
    specs = TEAMS[team]
    members = [predicted(spec, image, seed, scale) for seed, spec in enumerate(specs)]
    mean = averaged(members, tmp_path)
    expected = members[0].labels.convert_probabilities_to_segmentation(mean)
    content = ModelDescription.model_validate(description(specs[0]))
    votes, frame = [member.vote for member in members], members[0].frame
    np.testing.assert_array_equal(frame.whole(average_mask(votes, content)), expected)
    assert len(np.unique(expected)) == 4
    margins = frame.whole(decision_margins(votes, content), fill=np.inf)
    assert margins.shape == expected.shape
    assert (margins >= 0).all()
    assert np.isinf(margins[:2]).all()
    assert np.isinf(margins[..., -3:]).all()
