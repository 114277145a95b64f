"""The same anatomy as NIfTI and as DICOM series, through a real model: the same structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from nnunet_losses.serve.approximations import Approximations
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import Case
from nnunet_losses.serve.formats.turning import own_grid
from nnunet_losses.serve.outputs import write_outputs
from nnunet_losses.serve.predictor import Predictor

from .reading_back import read_rtstruct, read_seg
from .series import Phantom, write_series, zipped

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.result_files import Prediction

CASE = "hippocampus_243"


@pytest.fixture(scope="module")
def bundle(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from nnunet_losses.export.bundle_writer import export_bundle

    folder = tmp_path_factory.mktemp("hippocampus")
    return Bundle.load(export_bundle(shared / "models" / "hippocampus3d", folder / "hippo.bundle"))


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Predictor:
    """Look once, for an eighth of the time: how images are turned is what is tested."""
    return Predictor(bundle, orientation="RAS", approximations=Approximations(mirror=False))


def as_series(image: sitk.Image, orientation: str, folder: Path) -> Phantom:
    """Write a volume as a scanner that takes its slices in another orientation would."""
    turned = sitk.DICOMOrient(image, orientation)
    voxels = sitk.GetArrayFromImage(turned)
    stored = voxels.astype(np.int16)
    assert np.array_equal(stored, voxels), "the case has whole numbers"
    axes = np.array(turned.GetDirection()).reshape(3, 3)
    made = Phantom(
        stored,
        axes=tuple(axes[:, :2].T.ravel()),
        spacing=turned.GetSpacing(),
        origin=turned.GetOrigin(),
        rescale=None,
        tags={"Modality": "MR"},
    )
    assert np.linalg.det(axes) > 0, "slices are stacked along their normal"
    write_series(folder, made.datasets())
    return made


@pytest.fixture(scope="module")
def source(shared: Path) -> sitk.Image:
    original = sitk.ReadImage(str(shared / "data" / "hippocampus3d" / "imagesTr" / f"{CASE}_0000.nii.gz"))
    return sitk.Cast(original, sitk.sitkInt16)


@pytest.fixture(scope="module")
def of_nifti(
    source: sitk.Image, predictor: Predictor, tmp_path_factory: pytest.TempPathFactory
) -> Prediction:
    file = tmp_path_factory.mktemp("nifti") / f"{CASE}_0000.nii.gz"
    sitk.WriteImage(source, str(file))
    return predictor.predict(Case(CASE, (file,)))


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "LIP"])
def test_series_and_nifti_give_the_same_structure(
    source: sitk.Image, of_nifti: Prediction, predictor: Predictor, tmp_path: Path, orientation: str
) -> None:
    made = as_series(source, orientation, tmp_path / "series")
    series = zipped(tmp_path / "series", tmp_path / "series.zip")
    of_series = predictor.predict(Case(CASE, (series,)))
    assert of_nifti.mask.any()
    mask = sitk.GetImageFromArray(of_nifti.mask)
    mask.CopyInformation(source)
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(mask, orientation))
    assert np.array_equal(own_grid(of_series.mask, of_series.image.geometry)[0], expected)
    volumes = [[round(label.volume_ml, 6) for label in one.answer.labels] for one in (of_nifti, of_series)]
    assert volumes[0] == volumes[1]
    found = write_outputs(
        ["seg", "rtstruct"],
        of_series.mask,
        of_series.image,
        of_series.answer,
        predictor.bundle.description,
        tmp_path,
    )
    labels = np.stack([expected == 1, expected == 2], axis=-1)
    assert np.array_equal(read_seg(found[0].path, made.datasets()), labels)
    assert np.array_equal(read_rtstruct(found[1].path, made.datasets()), labels)
    assert pydicom.dcmread(found[0].path).SegmentSequence[0].SegmentLabel == "Anterior"


def test_a_real_series_has_a_hippocampus(shared: Path, bundle: Bundle) -> None:
    """Turned to how the model learned it, both halves are found where they belong: front before back."""
    series = shared / "data" / "dicom" / "hippocrop_study1"
    made = Predictor(bundle, orientation="RAS").predict(Case("study", (series,)))
    assert made.image.geometry.orientation == "LPS"
    volumes = {label.name: label.volume_ml for label in made.answer.labels}
    assert all(0.5 < volume < 4 for volume in volumes.values()), volumes
    assert all(label.components == 1 for label in made.answer.labels)
    mask, _ = own_grid(made.mask, made.image.geometry)
    front, back = (np.argwhere(mask == value)[:, 1].mean() for value in (1, 2))
    assert front < back  # rows run from front to back in LPS
