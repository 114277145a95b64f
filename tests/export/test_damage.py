"""The proof fails when anything that decides a prediction is changed, even with all hashes made anew."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnunet_losses.export.errors import CheckpointMismatch
from nnunet_losses.export.parity_case import CaseParity, Overlap
from nnunet_losses.export.parity_report import judge
from nnunet_losses.export.verify import verify_bundle
from nnunet_losses.serve.bundle import Bundle, file_sha256, write_sums
from nnunet_losses.serve.errors import Code, Refusal
from tests.models import write_model_folder


def change_description(bundle, change):
    content = json.loads((bundle / "model.json").read_text())
    change(content, content["members"][0])
    (bundle / "model.json").write_text(json.dumps(content))
    write_sums(bundle)


def change_weight(bundle, change=lambda values: values.flat[0] + np.abs(values).max()):
    import onnx
    from onnx import numpy_helper

    path = bundle / "members" / "3d_fullres" / "fold_0.onnx"
    model = onnx.load(path)
    kernel = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 5)
    values = numpy_helper.to_array(kernel).copy()
    values.flat[0] = change(values)
    kernel.CopyFrom(numpy_helper.from_array(values, kernel.name))
    onnx.save(model, path)
    change_description(bundle, lambda _, member: member["folds"][0].update(sha256=file_sha256(path)))


def verify(exported):
    return verify_bundle(exported.bundle, exported.model, [exported.images], backend="cpu")


def test_one_changed_weight_fails(plain):
    change_weight(plain.bundle)
    parity = verify(plain).parity
    assert not parity.passed
    assert any("tile logits of fold 0" in failure for failure in parity.failures)
    assert Bundle.load(plain.bundle).description.parity == parity
    assert "FAILED" in (plain.bundle / "MODEL_CARD.md").read_text()
    assert json.loads((plain.bundle / "parity.json").read_text())["parity"]["passed"] is False


def test_one_changed_bit_of_a_weight_fails(plain):
    change_weight(plain.bundle, lambda values: np.nextafter(values.flat[0], np.float32(np.inf)))
    (failure,) = verify(plain).parity.failures
    assert "fold_0.onnx has other weights than its checkpoint: decoder.encoder.stages.0" in failure


CHANGES = {
    "normalisation": lambda _, m: m["preprocessing"]["channels"][0].update(normalization="NoNormalization"),
    "spacing": lambda _, m: m["preprocessing"].update(spacing=[1.0, 1.0, 1.2]),
    "image order": lambda _, m: m["preprocessing"]["resampling_image"].update(order=1),
    "logits order": lambda _, m: m["preprocessing"]["resampling_logits"].update(order=0),
    "transposition": lambda _, m: m["preprocessing"].update(transpose_forward=[1, 0, 2]),
    "step size": lambda _, m: m["tiling"].update(step_size=0.9),
    "a mirror axis": lambda _, m: m["tiling"].update(mirror_axes=[0, 1]),
    "ignore label": lambda content, _: content.update(ignore_label=9),
    "patch size": lambda _, m: m["tiling"].update(patch_size=[16, 16, 16]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_changed_field_fails(plain, change):
    change_description(plain.bundle, CHANGES[change])
    parity = verify(plain).parity
    assert not parity.passed
    assert "model.json has" in parity.failures[0]
    # these small images have the same tiles either way, and an ignored label is never predicted
    if change not in ("step size", "ignore label"):
        assert len(parity.failures) > 1


def test_change_without_new_hashes_is_refused(plain):
    with (plain.bundle / "members" / "3d_fullres" / "fold_0.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Refusal) as refused:
        verify(plain)
    assert refused.value.code is Code.BUNDLE_HASH_MISMATCH


def test_another_checkpoint_is_named_and_nothing_stored(plain):
    before = file_sha256(plain.bundle / "SHA256SUMS")
    write_model_folder(plain.model, plain.spec.but(seed=9))
    with pytest.raises(CheckpointMismatch, match="Fold 0 is another checkpoint"):
        verify(plain)
    assert file_sha256(plain.bundle / "SHA256SUMS") == before


@pytest.mark.parametrize(("differing", "passed"), [(1, True), (2, False)])
def test_one_undecided_voxel_of_a_small_label_is_no_failure(differing, passed):
    overlap = Overlap(both=1000, reference=1000, bundle=1000 + differing)
    case = CaseParity("case", voxels=9000, differing_voxels=differing, overlaps={"lesion": overlap})
    assert overlap.dice < 0.9999
    assert judge([case], backend="cpu").passed is passed
