"""What a bundle holds, and that there is never half of one."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from nnunet_losses.export import bundle_writer
from nnunet_losses.export.bundle_files import whole_or_nothing
from nnunet_losses.export.bundle_writer import export_bundle
from nnunet_losses.export.errors import ExportError
from nnunet_losses.export.golden import has_flat_images, procedural_image
from nnunet_losses.export.model_folder import read_model_folder
from nnunet_losses.serve.bundle import Bundle, file_sha256
from nnunet_losses.serve.formats import Case, read_mask
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.predictor import Predictor
from tests.models import write_model_folder

from .conftest import BASE


def test_layout(plain):
    names = sorted(
        path.relative_to(plain.bundle).as_posix() for path in plain.bundle.rglob("*") if path.is_file()
    )
    assert set(names) >= {
        "MODEL_CARD.md", "SHA256SUMS", "model.json", "golden/case_0000.nii.gz", "golden/mask.nii.gz",
        "golden/tile_input.npy", "golden/tile_logits.npy", "members/3d_fullres/dataset.json",
        "members/3d_fullres/dataset_fingerprint.json", "members/3d_fullres/fold_0.onnx",
        "members/3d_fullres/plans.json",
    }  # fmt: skip
    for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
        assert (plain.bundle / "members" / "3d_fullres" / name).read_bytes() == (
            plain.model / name
        ).read_bytes()


def test_description(plain):
    description = Bundle.load(plain.bundle).description
    (member,) = description.members
    checkpoint = plain.model / "fold_0" / "checkpoint_final.pth"
    assert description.name == "bundle"
    assert member.folds[0].checkpoint_sha256 == file_sha256(checkpoint)
    assert member.tiling.mirror_axes == (0, 1, 2)
    assert description.training.epochs == 1
    assert description.fingerprint.n_cases == 3
    assert description.provenance.opset == 20


def test_golden_image_gives_the_golden_mask(plain):
    bundle = Bundle.load(plain.bundle)
    golden = bundle.description.golden
    segmenter = Segmenter(bundle, backend="cpu")
    case = Case("golden", tuple(bundle.file(name) for name in golden.inputs))
    mask = Predictor(bundle, engine=segmenter).predict(case).mask
    expected = read_mask(bundle.file(golden.mask))
    assert np.array_equal(mask, expected)
    assert len(np.unique(expected)) > 1
    logits = segmenter.network(0).run(np.load(bundle.file(golden.tile_input))).logits[0]
    logits = logits.reshape(len(logits), -1)[:, :: golden.logits_stride]
    wanted = np.load(bundle.file(golden.tile_logits))
    assert wanted.shape == logits.shape
    assert np.abs(logits - wanted).max() <= golden.logits_tolerance * np.ptp(wanted)


def test_archive_and_name(plain, tmp_path):
    path = export_bundle(plain.model, tmp_path / "lesions 1.zip")
    with zipfile.ZipFile(path) as archive:
        assert "model.json" in archive.namelist()
    assert Bundle.load(path).description.name == "lesions-1"


def test_existing_bundle_is_kept_unless_overwritten(plain):
    with pytest.raises(ExportError, match="Pass --overwrite"):
        export_bundle(plain.model, plain.bundle)
    export_bundle(plain.model, plain.bundle, overwrite=True, name="again")
    assert Bundle.load(plain.bundle).description.name == "again"
    assert sorted(path.name for path in plain.bundle.parent.iterdir()) == ["bundle", "model"]


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x"])
def test_unusable_name(plain, tmp_path, name):
    with pytest.raises(ExportError, match="letters, digits"):
        export_bundle(plain.model, tmp_path / "new", name=name)


def test_foreign_folder_is_never_overwritten(plain, tmp_path):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="is no bundle"):
        export_bundle(plain.model, folder, overwrite=True)
    assert (folder / "thesis.txt").exists()


def test_failed_export_leaves_the_old_bundle(plain, monkeypatch):
    before = file_sha256(plain.bundle / "SHA256SUMS")

    def fail(_, folder, *__):
        (folder / "half").write_text("a network, nearly")
        raise RuntimeError("power cut")

    monkeypatch.setattr(bundle_writer, "_write_member", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        export_bundle(plain.model, plain.bundle, overwrite=True)
    assert file_sha256(plain.bundle / "SHA256SUMS") == before
    assert sorted(path.name for path in plain.bundle.parent.iterdir()) == ["bundle", "model"]


def test_interrupted_archive_leaves_nothing(tmp_path):
    def interrupted():
        with whole_or_nothing(tmp_path / "a.zip", overwrite=False) as folder:
            (folder / "half").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_golden_image_lies_in_the_training_range(tmp_path):
    spec = BASE.but(channels=("CT", "PET"), normalization=("CTNormalization",) * 2, use_mask=(False,) * 2)
    image = procedural_image(read_model_folder(write_model_folder(tmp_path, spec)), 0)
    assert image.shape[0] == 2
    assert -150 <= image.min() < 0 < image.max() <= 350
    assert np.array_equal(image, procedural_image(read_model_folder(tmp_path), 0))


def test_flat_images_are_told_by_the_fingerprint(tmp_path):
    spec = BASE.but(patch_size=(16, 16), spacing=(1.0, 1.0))
    folder = write_model_folder(tmp_path, spec)
    assert has_flat_images(read_model_folder(folder))
    fingerprint = json.loads((folder / "dataset_fingerprint.json").read_text())
    fingerprint["shapes_after_crop"][0][0] = 5
    (folder / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    assert not has_flat_images(read_model_folder(folder))


def test_a_model_folder_is_never_taken_for_the_bundle(tmp_path):
    one, two = (write_model_folder(tmp_path / name) for name in ("one", "two"))
    for overwrite in (False, True):
        with pytest.raises(ExportError, match="Name the bundle behind the model folders"):
            export_bundle(one, two, overwrite=overwrite)
    assert (two / "plans.json").is_file()
