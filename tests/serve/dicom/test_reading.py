"""Series are read as they lie; what is unusual is told, with its numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.pixels import compress
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from scipy.ndimage import gaussian_filter

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.formats.turning import own_grid
from nnunet_losses.serve.outputs import write_outputs
from nnunet_losses.serve.schema import Reader

from ..models import description
from ..outputs.cases import answer
from .reading_back import read_rtstruct, read_seg
from .series import CANARY, ORIENTATIONS, Phantom, phantom, write_series, zipped

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image

READERS = (Reader.SIMPLE_ITK, Reader.SIMPLE_ITK_REORIENT, Reader.NIBABEL, Reader.NIBABEL_REORIENT)


def read(path: Path, *, reader: Reader = Reader.SIMPLE_ITK, orientation: str | None = "LPS") -> Image:
    return read_image([path], reader=reader, orientation=orientation)


def own(image: Image) -> NDArray[Any]:
    return own_grid(image.data[0], image.geometry)[0]


def refusal(path: Path) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(path)
    return caught.value


def codes(image: Image) -> set[str]:
    return {code for code, _ in image.warnings}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_reads_what_simpleitk_reads_of_a_good_series(tmp_path: Path, name: str) -> None:
    made = phantom(axes=ORIENTATIONS[name])
    folder = write_series(tmp_path / "series", made.datasets())
    image = read(folder)
    finder = sitk.ImageSeriesReader()
    finder.SetFileNames(finder.GetGDCMSeriesFileNames(str(folder)))
    expected = sitk.DICOMOrient(finder.Execute(), "LPS")
    assert np.array_equal(image.data[0], sitk.GetArrayFromImage(expected))
    assert np.allclose(image.geometry.spacing, expected.GetSpacing(), atol=1e-5)
    assert np.allclose(image.geometry.origin, expected.GetOrigin(), atol=1e-4)
    assert np.allclose(image.geometry.direction, expected.GetDirection(), atol=1e-5)
    assert np.array_equal(own(image), made.voxels - 1024)


@pytest.mark.parametrize("reader", READERS)
def test_the_mask_s_file_is_on_the_series_own_grid(tmp_path: Path, reader: Reader) -> None:
    made = phantom(axes=ORIENTATIONS["sagittal"])
    folder = write_series(tmp_path / "series", made.datasets())
    image = read(folder, reader=reader, orientation="RAS")
    values = (image.data[0] > 200).astype(np.uint8)
    (output,) = write_outputs(["mask"], values, image, answer(), description(reader=reader), tmp_path)
    mask = sitk.ReadImage(str(output.path))
    assert np.array_equal(sitk.GetArrayFromImage(mask), (made.voxels - 1024) > 200)
    assert np.allclose(mask.GetOrigin(), made.origin, atol=1e-4)
    assert np.allclose(mask.GetSpacing(), made.spacing, atol=1e-5)


def test_readers_that_turn_images_turn_series(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", phantom().datasets())
    turned = read(folder, reader=Reader.SIMPLE_ITK_REORIENT, orientation=None)
    assert turned.geometry.turned_to == "RAS"
    assert "series.orientation_assumed" not in codes(turned)
    assert "series.orientation_assumed" in codes(read(folder, orientation=None))


def test_zip_folder_and_order_make_no_difference(tmp_path: Path) -> None:
    datasets = phantom().datasets()
    folder = write_series(tmp_path / "a", datasets)
    other = write_series(tmp_path / "b", datasets[::-1], shuffle=False)
    first = read(folder)
    for path in (other, zipped(folder, tmp_path / "a.zip")):
        assert np.array_equal(read(path).data, first.data)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_byte_orders(tmp_path: Path, syntax: str) -> None:
    made = phantom()
    datasets = made.datasets()
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
            dataset["PixelData"].VR = "OW"
    assert np.array_equal(own(read(write_series(tmp_path / "a", datasets))), made.voxels - 1024)


def test_compressed_by_rle(tmp_path: Path) -> None:
    made = phantom()
    datasets = made.datasets()
    for dataset in datasets:
        compress(dataset, RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    assert np.array_equal(own(read(write_series(tmp_path / "a", datasets))), made.voxels - 1024)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_compressed_by_jpeg(tmp_path: Path, compressor: str) -> None:
    """GDCM writes lossless JPEG and JPEG 2000; ours reads them slice by slice."""
    made = phantom()
    (tmp_path / "a").mkdir()
    for number, dataset in enumerate(made.datasets()):
        pydicom.dcmwrite(tmp_path / "plain.dcm", dataset, enforce_file_format=True)
        image = sitk.ReadImage(str(tmp_path / "plain.dcm"))
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.SetFileName(str(tmp_path / "packed.dcm"))
        writer.Execute(sitk.Cast(image, sitk.sitkInt16))
        packed = pydicom.dcmread(tmp_path / "packed.dcm")
        for element in packed.group_dataset(0x0028):
            if element.keyword != "PixelSpacing":
                dataset[element.tag] = element
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        dataset.PixelData = packed.PixelData
        dataset["PixelData"].is_undefined_length = True
        pydicom.dcmwrite(tmp_path / "a" / f"{number}", dataset, enforce_file_format=True)
    assert packed.file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(own(read(tmp_path / "a")), made.voxels - 1024)


def test_bits_beyond_those_stored_are_ignored_and_signs_kept(tmp_path: Path) -> None:
    values = np.array([[[-3, 5], [2047, -2048]]] * 3, np.int16)
    made = Phantom(values, rescale=None)
    datasets = made.datasets()
    for dataset in datasets:
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelData = ((values[0] & 0x0FFF) | 0x5000).astype("<u2").tobytes()
    assert np.array_equal(own(read(write_series(tmp_path / "a", datasets))), values)


def test_rescaling_is_applied(tmp_path: Path) -> None:
    made = phantom(rescale=(0.25, -7.5))
    assert np.array_equal(
        own(read(write_series(tmp_path / "a", made.datasets()))),
        (made.voxels * 0.25 - 7.5).astype(np.float32),
    )


def test_pet_has_a_slope_for_each_slice(tmp_path: Path) -> None:
    made = phantom(tags={"Modality": "PT"})
    datasets = made.datasets()
    slopes = [1 + number / 4 for number in range(len(datasets))]
    for dataset, slope in zip(datasets, slopes, strict=True):
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, 0
    expected = made.voxels * np.array(slopes)[:, None, None]
    assert np.array_equal(own(read(write_series(tmp_path / "a", datasets))), expected.astype(np.float32))


def test_the_step_comes_from_positions(tmp_path: Path) -> None:
    image = read(write_series(tmp_path / "a", phantom(spacing=(0.5, 0.75, 3.3)).datasets()))
    assert np.allclose(image.spacing, (3.3, 0.75, 0.5))


def enhanced(made: Phantom) -> pydicom.Dataset:
    """All slices as one multi-frame file, frames from top to bottom."""
    slices = made.datasets()[::-1]
    whole = made.dataset(0)
    whole.NumberOfFrames = len(slices)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    shared, measures, orientation, values = (pydicom.Dataset() for _ in range(4))
    measures.PixelSpacing, measures.SliceThickness = whole.PixelSpacing, "7.5"
    orientation.ImageOrientationPatient = whole.ImageOrientationPatient
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "1", "-1024", "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [values]
    whole.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for one in slices:
        group, place = pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient = one.ImagePositionPatient
        group.PlanePositionSequence = [place]
        groups.append(group)
    whole.PerFrameFunctionalGroupsSequence = groups
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(whole, keyword)
    del whole.RescaleIntercept
    whole.PixelData = b"".join(one.PixelData for one in slices)
    return whole


def test_enhanced_multi_frame_in_and_seg_out(tmp_path: Path) -> None:
    made = phantom(axes=ORIENTATIONS["oblique"])
    whole = enhanced(made)
    pydicom.dcmwrite(tmp_path / "a.dcm", whole, enforce_file_format=True)
    image = read(tmp_path / "a.dcm")
    assert np.array_equal(own(image), made.voxels - 1024)
    mask = np.random.default_rng(0).integers(0, 3, image.shape, dtype=np.uint8)
    seg, rtstruct = write_outputs(["seg", "rtstruct"], mask, image, answer(), description(), tmp_path)
    import highdicom as hd

    frames = hd.seg.segread(seg.path).get_pixels_by_source_frame(
        whole.SOPInstanceUID,
        list(range(1, 10)),
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,
    )
    native = own_grid(mask, image.geometry)[0]
    assert np.array_equal(frames[::-1, ..., 0], native == 1)
    contour = pydicom.dcmread(rtstruct.path).ROIContourSequence[0].ContourSequence[0]
    assert 1 <= contour.ContourImageSequence[0].ReferencedFrameNumber <= 9


def test_numbers_of_a_missing_slice(tmp_path: Path) -> None:
    datasets = phantom().datasets()
    found = refusal(write_series(tmp_path / "a", [*datasets[:3], *datasets[4:]]))
    assert found.code is Code.SERIES_MISSING_SLICE
    assert found.observed == {"step_mm": 5.0, "missing": 1, "slices": 8}
    assert found.expected == {"step_mm": 2.5}
    assert "1 of 9 slices are missing" in found.detail


def test_numbers_of_duplicates_tilt_and_mixture(tmp_path: Path) -> None:
    datasets = phantom().datasets()
    double = refusal(write_series(tmp_path / "a", [*datasets, datasets[2]]))
    assert double.observed == {"slices": 10, "places": 9}
    tilted = phantom().datasets()
    for number, dataset in enumerate(tilted):
        place = np.array(dataset.ImagePositionPatient, float)
        place[1] += number * 2.5 * np.tan(np.radians(12))
        dataset.ImagePositionPatient = [f"{value:.5f}" for value in place]
    found = refusal(write_series(tmp_path / "b", tilted))
    assert found.observed["tilt_degrees"] == pytest.approx(12, abs=0.01)
    tilted[3].SeriesInstanceUID = "2.25.9"
    assert refusal(write_series(tmp_path / "c", tilted)).observed == [8, 1]


def test_small_unevenness_is_told_and_borne(tmp_path: Path) -> None:
    datasets = phantom(spacing=(0.7, 0.9, 0.625)).datasets()
    for dataset in datasets:  # some scanners round positions
        dataset.ImagePositionPatient = [f"{float(value):.1f}" for value in dataset.ImagePositionPatient]
    assert "series.uneven_steps" in codes(read(write_series(tmp_path / "a", datasets)))


def test_companions_are_ignored_and_told(tmp_path: Path) -> None:
    datasets = phantom().datasets()
    report = phantom().dataset(0)
    report.Modality = "SR"
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    folder = write_series(tmp_path / "a", [*datasets, report])
    (folder / "readme.txt").write_text("Exported by a workstation.")
    image = read(folder)
    assert "series.other_files" in codes(image)
    assert np.array_equal(own(image), phantom().voxels - 1024)


def test_two_series_are_two_channels(tmp_path: Path) -> None:
    one = write_series(tmp_path / "T1", phantom(seed=1).datasets())
    two = write_series(tmp_path / "FLAIR", phantom(seed=2, tags={"SeriesInstanceUID": "2.25.4"}).datasets())
    image = read_image([one, two], reader=Reader.SIMPLE_ITK, orientation="RAS")
    assert image.data.shape[0] == 2
    apart = write_series(tmp_path / "far", phantom(seed=2, origin=(0, 0, 0)).datasets())
    with pytest.raises(Refusal) as caught:
        read_image([one, apart], reader=Reader.SIMPLE_ITK, orientation="RAS")
    assert caught.value.code is Code.CONTRACT_GEOMETRY_MISMATCH


def test_nothing_of_the_patient_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = phantom(tags={"PatientName": CANARY.replace("^", "")})
    image = read(write_series(tmp_path / "a", made.datasets()))
    write_outputs(["seg", "rtstruct"], image.data[0] > 0, image, answer(), description(), tmp_path)
    shown = f"{image.series!r} {image.warnings} {''.join(capfd.readouterr())}"
    assert "CANARY" not in shown
    assert "CANARY" in json.dumps(image.series.common)


def test_real_series(shared: Path) -> None:
    data = shared / "data" / "dicom"
    assert read(data / "ct_3slice").spacing == pytest.approx((1.0, 0.810547, 0.810547))
    slab = read(data / "t1w_head_slab", orientation="RAS")
    assert slab.spacing == pytest.approx((0.66667, 0.66667, 0.69999), abs=1e-4)


def tissue(image: Image) -> NDArray[np.uint8]:
    """Two structures as models draw them, by the values, with islands, holes and cut ends; in the middle."""
    smooth = gaussian_filter(image.data[0], 2)
    low, high = np.quantile(smooth, [0.55, 0.85])
    middle = tuple(slice(size // 4, 3 * size // 4 + 1) for size in image.shape)
    mask = np.zeros(image.shape, np.uint8)
    mask[middle] = (smooth > low)[middle].astype(np.uint8) + (smooth > high)[middle]
    assert all((mask == label).sum() > 500 for label in (1, 2))
    return mask


@pytest.mark.parametrize(
    ("name", "orientation"), [("t1w_head_slab", "RAS"), ("hippocrop_study1", "SLA"), ("ct_3slice", "RAS")]
)
def test_real_series_round_trip(shared: Path, tmp_path: Path, name: str, orientation: str) -> None:
    folder = shared / "data" / "dicom" / name
    image = read(folder, orientation=orientation)
    mask = tissue(image)
    seg, rtstruct = write_outputs(["seg", "rtstruct"], mask, image, answer(), description(), tmp_path)
    sources = sorted((pydicom.dcmread(file) for file in folder.iterdir()), key=_height)
    native = own_grid(mask, image.geometry)[0]
    labels = np.stack([native == 1, native == 2], axis=-1)
    assert np.array_equal(read_seg(seg.path, sources), labels)
    assert np.array_equal(read_rtstruct(rtstruct.path, sources), labels)


def _height(dataset: pydicom.Dataset) -> float:
    axes = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
    return float(np.cross(*axes) @ np.array(dataset.ImagePositionPatient, float))
