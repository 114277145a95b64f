"""Any image, any plan: the same input, tiles, logits and masks as nnU-Net's own functions make."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.pipeline import bricks, resample
from nnunet_losses.serve.pipeline.labels import label_mask
from nnunet_losses.serve.pipeline.preprocess import preprocess
from nnunet_losses.serve.pipeline.resample import plan_resize
from nnunet_losses.serve.schema import Head, Member, Resampling
from tests.models import ModelFolderSpec

from .reference import description, make_image, nnunet_preprocess

SCHEMES = ("CTNormalization", "ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization")
SETTINGS = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
SIZE = st.sampled_from([1, 2, 3, 5, 8, 13, 21, 30])
SPACING = st.sampled_from([0.3, 0.7, 0.9999, 1.0, 1.5, 3.0, 3.1, 7.0])
THREE_SIZES = st.tuples(SIZE, SIZE, SIZE)
THREE_SPACINGS = st.tuples(SPACING, SPACING, SPACING)
CONTENTS = ("noise", "outliers", "constant", "one voxel", "sparse", "steps")


def draw(content: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """An image (channels, z, y, x) of the worst kinds."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(shape)
    if content == "constant":
        return np.full(shape, 0.1 * seed + 0.1)
    if content == "one voxel":
        image = np.zeros(shape)
        image[(slice(None), *(int(rng.integers(size)) for size in shape[1:]))] = 7
        return image
    return {
        "noise": 100 * noise,
        "outliers": np.where(np.abs(noise) > 2, 3e4 * noise, noise),
        "sparse": np.where(np.abs(noise) > 1.5, 100 * noise, 0),
        "steps": 1000 * (noise > 0) - 1000.0 * (noise < -1),
    }[content]


@pytest.fixture
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several portions also of small images."""
    monkeypatch.setattr(resample, "_VOXELS", 300)
    monkeypatch.setattr(bricks, "_SIZE", (3, 5, 7))


@st.composite
def plans_and_images(draw_from: st.DrawFn) -> tuple[ModelFolderSpec, np.ndarray, tuple[float, ...]]:
    channels = draw_from(st.integers(1, 3))
    dimension = draw_from(st.sampled_from([2, 3]))
    spec = ModelFolderSpec(
        patch_size=(16,) * dimension,
        spacing=tuple(draw_from(THREE_SPACINGS)[:dimension]),
        channels=tuple("abc"[:channels]),
        normalization=tuple(draw_from(st.sampled_from(SCHEMES)) for _ in range(channels)),
        use_mask=tuple(draw_from(st.booleans()) for _ in range(channels)),
        transpose_forward=tuple(draw_from(st.permutations((0, 1, 2)))),  # type: ignore[arg-type] # three
    )
    shape = (channels, *draw_from(THREE_SIZES))
    image = draw(draw_from(st.sampled_from(CONTENTS)), shape, draw_from(st.integers(0, 9)))
    return spec, image, draw_from(THREE_SPACINGS)


@pytest.mark.usefixtures("_small_portions")
@pytest.mark.parametrize("threads", [1, 3])
def test_inputs_equal_nnunet(threads: int) -> None:
    @SETTINGS
    @given(plans_and_images())
    def holds(drawn: tuple[ModelFolderSpec, np.ndarray, Any]) -> None:
        spec, data, spacing = drawn
        assume(data.any())  # under a mask, nnU-Net takes the mean of no voxels
        image = make_image(data, spacing)
        member = Member.model_validate(description(spec)["members"][0])
        try:
            result = preprocess(image, member, threads=threads)
        except Refusal as refusal:
            if refusal.code is Code.CONTRACT_SIZE:  # nothing is left of an axis: nnU-Net fails, too
                return
            raise
        expected, properties = nnunet_preprocess(image, spec)
        assert [[side.start, side.stop] for side in result.box] == properties["bbox_used_for_cropping"]
        np.testing.assert_allclose(result.data, expected, rtol=2e-7, atol=1e-6)

    holds()


@pytest.mark.usefixtures("_small_portions")
@pytest.mark.parametrize("head", Head)
def test_masks_equal_nnunet(head: Head) -> None:
    @SETTINGS
    @given(
        shape=THREE_SIZES,
        target=THREE_SIZES,
        spacings=st.tuples(THREE_SPACINGS, THREE_SPACINGS),
        orders=st.sampled_from([(1, 0), (1, 0), (1, 1), (0, 0), (0, 1), (3, 0), (1, 3)]),
        scale=st.sampled_from([1e-7, 1e-3, 1.0, 30.0, 2e4]),
        heads=st.integers(2, 6),
        smooth=st.booleans(),
        seed=st.integers(0, 99),
    )
    def holds(
        shape: Any, target: Any, spacings: Any, orders: Any, scale: float, heads: int, smooth: bool, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        logits = np.clip(scale * rng.standard_normal((heads, *shape)), -6e4, 6e4).astype(np.float16)
        if smooth:  # whole regions where one head wins, and ties
            logits = np.sort(logits, axis=1)
            logits[-1] = logits[0]
        way = {"order": orders[0], "order_z": orders[1], "force_separate_z": None}
        resize = plan_resize(shape, target, spacings, Resampling(**way))
        reference = resample_data_or_seg_to_shape(logits, target, *spacings, is_seg=False, **way)
        np.testing.assert_array_equal(
            label_mask(logits, resize, decision(head, heads), threads=2), nnunet_labels(reference, head)
        )

    holds()


def decision(head: Head, heads: int) -> Any:
    """What label_mask reads of a bundle's description: values grow with the channels."""
    first = 1 if head is Head.SOFTMAX else 0
    labels = [SimpleNamespace(channel=c, value=c + 1 - first, members=(c + 1,)) for c in range(first, heads)]
    return SimpleNamespace(head=head, labels=labels)


def nnunet_labels(resampled: np.ndarray, head: Head) -> np.ndarray:
    import torch

    if head is Head.SOFTMAX:
        return resampled.argmax(axis=0)
    inside = torch.sigmoid(torch.from_numpy(resampled).float()).numpy() > 0.5
    mask = np.zeros(resampled.shape[1:], np.uint8)
    for channel, region in enumerate(inside):
        mask[region] = channel + 1
    return mask
