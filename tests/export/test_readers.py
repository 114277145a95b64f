"""A model of each of nnU-Net's readers exports, verifies and passes its self-test, turned images included."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from nnunet_losses.export.bundle_writer import export_bundle
from nnunet_losses.export.errors import ExportRefused
from nnunet_losses.export.verify import verify_bundle
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import Case
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.schema import Reader
from nnunet_losses.serve.self_test import run_self_test
from tests.models import write_model_folder

from .conftest import BASE, write_images

READERS = (
    ("NibabelIO", ".nii.gz"),
    ("NibabelIOWithReorient", ".nii.gz"),
    ("SimpleITKIOWithReorient", ".mha"),
    ("Tiff3DIO", ".tif"),
)


def tiff_images(folder, shape=(18, 26, 20)):
    folder.mkdir()
    for case in range(2):
        voxels = np.random.default_rng(case).normal(100, 20, shape).astype(np.float32)
        tifffile.imwrite(folder / f"case{case}_0000.tif", voxels, photometric="minisblack")
        (folder / f"case{case}.json").write_text(json.dumps({"spacing": [1.3, 0.9, 1.1]}))
    return folder


@pytest.mark.parametrize(("reader", "ending"), READERS)
def test_bundle_predicts_what_nnunet_predicts(tmp_path, reader, ending):
    spec = BASE.but(reader=reader, file_ending=ending, transpose_forward=(2, 0, 1))
    model = write_model_folder(tmp_path / "model", spec)
    images = tmp_path / "images"
    if ending == ".tif":
        tiff_images(images)
    else:
        write_images(images, spec, shape=(18, 26, 20))
    bundle = export_bundle(model, tmp_path / "bundle")
    verification = verify_bundle(bundle, model, [images], backend="cpu")
    assert verification.parity.passed, verification.parity.failures
    assert verification.parity.cases == 2
    assert all(case.identical_files or case.differing_voxels for case in verification.cases)
    predictor = Predictor(Bundle.load(bundle), backend="cpu")
    assert run_self_test(predictor).differing_beyond_margin == 0
    if ending == ".tif":
        reads_back_with_nnunet(predictor, images, tmp_path)


def reads_back_with_nnunet(predictor, images, folder):
    """The answer beside a TIFF mask is its spacing file as well, so that nnU-Net's own tools go on."""
    from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

    written = predictor.predict_to_folder(Case("case0", (images / "case0_0000.tif",)), folder / "out")
    mask, properties = Tiff3DIO().read_seg(str(written.mask_file))
    assert mask.shape == (1, 18, 26, 20)
    assert properties["spacing"] == [1.3, 0.9, 1.1]


def test_an_answer_never_takes_the_place_of_the_spacing(tmp_path):
    from types import SimpleNamespace

    from nnunet_losses.serve.predictor import check_output

    images = tiff_images(tmp_path / "images")
    case = Case("case0", (images / "case0_0000.tif",))
    description = SimpleNamespace(file_ending=".tif", reader=Reader.TIFF_3D)
    with pytest.raises(ValueError, match="overwrite its spacing"):
        check_output(case, images, description)
    check_output(case, tmp_path / "out", description)


def test_labels_beyond_8_bits_are_refused_where_nnunets_writer_has_no_more(tmp_path):
    labels = {"background": 0} | {f"part {value}": value for value in range(1, 257)}
    spec = BASE.but(reader="SimpleITKIOWithReorient", labels=labels)
    with pytest.raises(ExportRefused, match="cannot hold the label 256"):
        export_bundle(write_model_folder(tmp_path / "model", spec), tmp_path / "bundle")
