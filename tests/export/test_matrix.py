"""Every kind of model exports, loads, and predicts what nnU-Net predicts."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.export.verify import verify_bundle
from nnunet_losses.serve.bundle import Bundle

from .conftest import BASE, SPACING

if TYPE_CHECKING:
    from tests.models import ModelFolderSpec


@dataclass(frozen=True)
class Kind:
    """A model that differs in several ways at once: exporting a network takes seconds."""

    name: str
    spec: ModelFolderSpec
    shape: tuple[int, int, int] = (18, 26, 20)
    spacing: tuple[float, float, float] = SPACING  # of the images


def resampling(**arguments):
    """Arguments of both resampling functions."""
    return {
        f"resampling_fn_{kind}_kwargs": {"is_seg": False, "order": order, **arguments}
        for kind, order in (("data", 3), ("probabilities", 1))
    }


FLAT = BASE.but(patch_size=(24, 32), spacing=(1.0, 1.0))
KINDS = (
    Kind("plain 3D", BASE),
    Kind("residual 3D, regions in another order, ignore label, deep supervision, no mirroring", BASE.but(
        architecture="ResidualEncoderUNet", file_ending=".nrrd", mirror_axes=(), deep_supervision=True,
        labels={"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, regions_class_order=(2, 1))),
    Kind("plain 2D on volumes, two folds, DDP and compile prefixes, five labels, ignore label", FLAT.but(
        folds=(0, 3), prefix="module._orig_mod.",
        labels={"background": 0, "a": 1, "c": 3, "b": 2, "d": 4, "ignore": 5}), (3, 28, 40)),
    Kind("residual 2D colour pictures, fold all", FLAT.but(
        architecture="ResidualEncoderUNet", folds=("all",), reader="NaturalImage2DIO", file_ending=".png",
        channels=("R", "G", "B"), normalization=("RGBTo01Normalization",) * 3, use_mask=(False,) * 3),
        (1, 30, 45)),
    Kind("anisotropic, transposed, three channels, three normalisations, two mirror axes, nested regions",
        BASE.but(
            patch_size=(6, 20, 24), spacing=(4.0, 1.2, 0.8), mirror_axes=(1, 2), transpose_forward=(1, 0, 2),
            features=(4, 8, 8), kernel_sizes=((1, 3, 3), (1, 3, 3), (3, 3, 3)),
            strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
            channels=("CT", "T1", "PET"), use_mask=(False, True, False),
            normalization=("CTNormalization", "ZScoreNormalization", "NoNormalization"),
            labels={"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
            regions_class_order=(1, 2, 3))),
    Kind("low resolution, rescaled and masked channels, never separate z", BASE.but(
        name="3d_lowres", spacing=(1.9, 1.6, 1.7), channels=("A", "B"), use_mask=(True, False),
        normalization=("RescaleTo01Normalization", "ZScoreNormalization"),
        configuration_overrides=resampling(order_z=0, force_separate_z=False)), (24, 30, 28)),
    Kind("old-format plans and modality, coarse second axis", BASE.but(
        old_format=True, patch_size=(16, 6, 16), spacing=(1.0, 4.0, 1.2), mirror_axes=(0, 2),
        kernel_sizes=((3, 1, 3), (3, 3, 3)), strides=((1, 1, 1), (2, 1, 2)),
        normalization=("CTNormalization",)), (18, 14, 22), (1.1, 2.9, 0.9)),
    Kind("recommended residual encoder, separate z on the last axis, interpolated", BASE.but(
        architecture="ResidualEncoderUNet", blocks=(1, 3), patch_size=(16, 16, 6), spacing=(1.0, 1.0, 1.1),
        strides=((1, 1, 1), (2, 2, 1)), use_mask=(True,),
        configuration_overrides=resampling(order_z=1, force_separate_z=None)), (18, 20, 8), (1.2, 0.9, 4.5)),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_bundle_predicts_what_nnunet_predicts(kind, export, tmp_path):
    exported = export(kind.spec, shape=kind.shape, spacing=kind.spacing)
    bundle = shutil.copytree(exported.bundle, tmp_path / "bundle")
    verification = verify_bundle(bundle, exported.model, [exported.images], backend="cpu")
    parity = verification.parity
    assert parity.passed, parity.failures
    assert parity.cases == 2
    assert parity.tiles >= 2 * len(kind.spec.folds)
    assert parity.max_tile_difference <= 1e-5
    assert all(case.preprocessing_difference <= 1e-5 for case in verification.cases)
    assert parity.differing_voxels_beyond_margin == 0
    assert all(case.identical_files or case.differing_voxels for case in verification.cases)
    stored = Bundle.load(bundle).description
    assert stored.parity == parity
    assert set(parity.dice) == {label.name for label in stored.labels}
    for label in parity.dice:  # a comparison of empty masks would prove nothing
        assert sum(case.overlaps[label].reference for case in verification.cases) > 20, label


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_openvino_predicts_it_too(kind, export):
    exported = export(kind.spec, shape=kind.shape, spacing=kind.spacing)
    one = sorted(exported.images.glob("case1_*"))
    parity = verify_bundle(exported.bundle, exported.model, one, backend="openvino", write=False).parity
    assert parity.passed, parity.failures
    assert parity.max_tile_difference <= 1e-4
    assert parity.differing_voxels_beyond_margin == 0


def test_checksums_are_those_of_coreutils(plain):
    run = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=plain.bundle, check=False)
    assert run.returncode == 0
