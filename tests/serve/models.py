"""Descriptions of models, for tests that need no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.schema import (
    Channel,
    Fingerprint,
    Fold,
    Golden,
    Head,
    Label,
    Member,
    ModelDescription,
    Normalization,
    Preprocessing,
    Provenance,
    Reader,
    Resampling,
    Tiling,
    Training,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH = "0" * 64
LABELS = (
    Label(name="organ", channel=1, value=1, members=(1,)),
    Label(name="lesion", channel=2, value=2, members=(2,)),
)


def channel(name: str = "MRI", **changes: Any) -> Channel:
    """A channel; z-score without statistics unless told otherwise."""
    return Channel(**{"name": name, "normalization": Normalization.Z_SCORE, **changes})


def member(channels: Sequence[Channel], spacing: tuple[float, ...], patch: tuple[int, ...]) -> Member:
    """The configuration of a model."""
    return Member(
        name="2d" if len(patch) == 2 else "3d_fullres",
        folds=(Fold(name="0", file="fold_0.onnx", sha256=HASH, checkpoint_sha256=HASH),),
        preprocessing=Preprocessing(
            transpose_forward=(0, 1, 2),
            spacing=spacing,
            channels=tuple(channels),
            resampling_image=Resampling(order=3),
            resampling_logits=Resampling(order=1),
        ),
        tiling=Tiling(patch_size=patch),
    )


def fingerprint(**changes: Any) -> Fingerprint:
    """Training images of about 32 x 40 x 36 voxels of 1 mm."""
    values = {
        "n_cases": 9,
        "spacing_min": (1.0, 1.0, 1.0),
        "spacing_median": (1.0, 1.0, 1.0),
        "spacing_max": (1.0, 1.0, 1.0),
        "shape_min": (30, 38, 34),
        "shape_median": (32.0, 40.0, 36.0),
        "shape_max": (34, 42, 38),
    }
    return Fingerprint(**{**values, **changes})


def description(
    *channels: Channel,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    patch: tuple[int, ...] = (16, 16, 16),
    **changes: Any,
) -> ModelDescription:
    """A model with two labels; one MRI channel unless told otherwise."""
    values = {
        "name": "test",
        "reader": Reader.SIMPLE_ITK,
        "file_ending": ".nii.gz",
        "head": Head.SOFTMAX,
        "heads": 3,
        "labels": LABELS,
        "members": (member(channels or (channel(),), spacing, patch),),
        "training": Training(trainer="nnUNetTrainer", dataset="Dataset999_Test"),
        "golden": Golden(inputs=("i",), mask="m", tile_input="t", tile_logits="l"),
        "provenance": Provenance(
            created="2026-11-01T00:00:00Z", exporter="0", nnunetv2="2.8.1", torch="2", onnx="1", opset=20
        ),
    }
    return ModelDescription(**{**values, **changes})


def rgb_description(**changes: Any) -> ModelDescription:
    """A model of colour pictures."""
    channels = [channel(name, normalization=Normalization.RGB_0_1) for name in ("R", "G", "B")]
    options = {
        "reader": Reader.NATURAL_IMAGE_2D,
        "file_ending": ".png",
        "patch": (32, 32),
        "spacing": (1.0, 1.0),
    }
    return description(*channels, **{**options, **changes})
