"""A real trained model on real images."""

from __future__ import annotations

from nnunet_losses.export.bundle_writer import export_bundle
from nnunet_losses.export.verify import verify_bundle


def test_hippocampus_model_predicts_what_nnunet_predicts(shared, tmp_path):
    model = shared / "models" / "hippocampus3d"
    images = sorted((shared / "data" / "hippocampus3d" / "imagesTs").glob("*.nii.gz"))[:2]
    bundle = export_bundle(model, tmp_path / "hippocampus.zip")
    parity = verify_bundle(bundle, model, images, backend="cpu").parity
    assert parity.passed, parity.failures
    assert parity.differing_voxels == 0
    assert min(parity.dice.values()) == 1
