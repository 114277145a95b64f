"""SEG and RTSTRUCT give the same voxels back, wherever the series lay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.outputs import Options, write_outputs
from nnunet_losses.serve.outputs.kinds import EmptySeg
from nnunet_losses.serve.schema import Reader

from ..dicom.reading_back import read_rtstruct, read_seg, to_pixels, union_filled
from ..dicom.series import ORIENTATIONS, Phantom, phantom, write_series
from ..formats.files import noise, write
from ..models import description
from .cases import answer, regions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image


def speckled(shape: tuple[int, ...], seed: int = 3) -> NDArray[np.uint8]:
    """Labels 0, 1 and 2 with holes, parts that touch at corners, and parts at the border."""
    rng = np.random.default_rng(seed)
    mask = (rng.random(shape) < 0.55).astype(np.uint8) * rng.integers(1, 3, shape, dtype=np.uint8)
    mask[..., :3] = np.where(np.indices(shape).sum(axis=0) % 2, 1, 2)[..., :3]
    return mask


def sources(made: Phantom) -> list[pydicom.Dataset]:
    return made.datasets()


def expected(mask: NDArray[np.uint8], image: Image, made: Phantom) -> NDArray[np.uint8]:
    """The mask at the source's pixels, found by its position alone, voxel by voxel."""
    geometry = image.geometry
    axes = np.array(geometry.direction).reshape(3, 3) * np.array(geometry.spacing)
    z, y, x = np.indices(mask.shape).reshape(3, -1)
    places = np.stack([x, y, z], axis=1) @ axes.T + np.array(geometry.origin)
    out = np.full(made.voxels.shape, 255, np.uint8)
    normal_axes = np.stack([made.axes[:3], made.axes[3:], made.normal]).astype(float)
    indices = (places - np.array(made.origin)) @ normal_axes.T / np.array(made.spacing)
    column, row, number = np.rint(indices).astype(int).T
    assert np.abs(indices - np.rint(indices)).max() < 1e-3
    out[number, row, column] = mask.ravel()
    assert out.max() < 255
    return out


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("target", ["RAS", "SLA"])
def test_objects_read_back_voxel_equal(tmp_path: Path, name: str, target: str) -> None:
    made = phantom((6, 11, 13), axes=ORIENTATIONS[name])
    folder = write_series(tmp_path / "series", made.datasets())
    image = read_image([folder], reader=Reader.SIMPLE_ITK, orientation=target)
    mask = speckled(image.shape)
    wanted = expected(mask, image, made)
    assert np.array_equal(
        expected(image.data[0].astype(np.int16).view(np.uint16) % 200, image, made),
        ((made.voxels - 1024).view(np.uint16) % 200),
    )
    for model, members in ((description(), [(1,), (2,)]), (regions(), [(1, 2), (2,)])):
        seg, rtstruct = write_outputs(["seg", "rtstruct"], mask, image, answer(), model, tmp_path)
        labels = np.stack([np.isin(wanted, values) for values in members], axis=-1)
        assert np.array_equal(read_seg(seg.path, made.datasets()), labels)
        assert np.array_equal(read_rtstruct(rtstruct.path, made.datasets()), labels)


def test_each_contour_has_its_holes_by_itself(tmp_path: Path) -> None:
    """Readers that know no holes fill every contour and unite them; they see the same pixels."""
    made = phantom()
    folder = write_series(tmp_path / "series", made.datasets())
    image = read_image([folder], reader=Reader.SIMPLE_ITK, orientation="LPS")
    mask = speckled(image.shape)
    (output,) = write_outputs(["rtstruct"], mask, image, answer(), description(), tmp_path)
    structure, all_sources = pydicom.dcmread(output.path), made.datasets()
    polygons: dict[str, list[Any]] = {}
    for contour in structure.ROIContourSequence[0].ContourSequence:
        uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
        polygons.setdefault(uid, []).append(np.array(contour.ContourData, float).reshape(-1, 3))
    for number, source in enumerate(all_sources):
        found = [to_pixels(points, source) for points in polygons[source.SOPInstanceUID]]
        assert np.array_equal(union_filled(found, mask.shape[1:]), mask[number] == 1)


def test_a_contour_of_more_than_64_kibibytes(tmp_path: Path) -> None:
    """One part with many holes is one contour; explicit VRs could not hold its coordinates."""
    made = phantom((3, 110, 110))
    image = read_image(
        [write_series(tmp_path / "s", made.datasets())], reader=Reader.SIMPLE_ITK, orientation="LPS"
    )
    mask = np.zeros(image.shape, np.uint8)
    mask[1] = 1
    mask[1, 1:-1:3, 1:-1:3] = 0
    (output,) = write_outputs(["rtstruct"], mask, image, answer(), description(), tmp_path)
    (contour,) = pydicom.dcmread(output.path).ROIContourSequence[0].ContourSequence
    assert sum(len(str(value)) + 1 for value in contour.ContourData) > 2**16
    assert np.array_equal(read_rtstruct(output.path, made.datasets())[..., 0], mask == 1)


def test_the_same_answer_has_the_same_uids(tmp_path: Path) -> None:
    """What is stored again after a crash is the same object, and no second one."""
    made = phantom()
    image = read_image(
        [write_series(tmp_path / "s", made.datasets())], reader=Reader.SIMPLE_ITK, orientation="RAS"
    )
    mask = np.zeros(image.shape, np.uint8)
    mask[2:4, 3:7, 5:9] = 1
    found = []
    for identity in ("job 1", "job 1", "job 2", None, None):
        outputs = write_outputs(
            ["seg", "rtstruct"],
            mask,
            image,
            answer(),
            description(),
            tmp_path,
            Options(identity=identity),
        )
        read = [pydicom.dcmread(output.path) for output in outputs]
        assert all(UID(one.SOPInstanceUID).is_valid and UID(one.SeriesInstanceUID).is_valid for one in read)
        found.append(tuple((one.SOPInstanceUID, one.SeriesInstanceUID) for one in read))
    assert found[0] == found[1]
    assert len(set(found)) == 4
    assert len({uid for pair in found[0] for uid in pair}) == 4


@pytest.mark.parametrize("empty_seg", EmptySeg)
def test_an_empty_mask_is_a_valid_object_or_none(tmp_path: Path, empty_seg: EmptySeg) -> None:
    made = phantom()
    folder = write_series(tmp_path / "series", made.datasets())
    image = read_image([folder], reader=Reader.SIMPLE_ITK, orientation="RAS")
    mask, options = np.zeros(image.shape, np.uint8), Options(empty_seg=empty_seg)
    found = write_outputs(["seg", "rtstruct"], mask, image, answer(), description(), tmp_path, options)
    if empty_seg is EmptySeg.OMIT:
        assert found == []
        return
    seg = pydicom.dcmread(found[0].path)
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["organ", "lesion"]
    assert not seg.pixel_array.any()
    assert not read_rtstruct(found[1].path, made.datasets()).any()


def test_objects_say_who_made_them_and_for_whom(tmp_path: Path) -> None:
    made = phantom()
    del made.datasets()[0].PatientBirthDate
    folder = write_series(tmp_path / "series", made.datasets())
    image = read_image([folder], reader=Reader.SIMPLE_ITK, orientation="RAS")
    found = write_outputs(
        ["seg", "rtstruct"], speckled(image.shape), image, answer(), description(), tmp_path
    )
    for output in found:
        read = pydicom.dcmread(output.path)
        source = made.dataset(0)
        assert read.PatientName == source.PatientName
        assert read.StudyInstanceUID == source.StudyInstanceUID
        assert read.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert read.SeriesInstanceUID != source.SeriesInstanceUID
        assert output.media_type == "application/dicom"
    segment = pydicom.dcmread(found[0].path).SegmentSequence[0]
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("test", "0" * 64)
    assert segment.RecommendedDisplayCIELabValue


def test_other_images_have_no_dicom_objects(tmp_path: Path) -> None:
    image = read_image([write(tmp_path / "a.nii.gz", noise())], reader=Reader.SIMPLE_ITK)
    for kind in ("seg", "rtstruct"):
        with pytest.raises(Refusal) as caught:
            write_outputs([kind], np.zeros(image.shape, np.uint8), image, answer(), description(), tmp_path)
        assert caught.value.code is Code.OUTPUT_IMPOSSIBLE
