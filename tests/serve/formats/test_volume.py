"""Volumes: voxel for voxel and spacing for spacing as nnU-Net's SimpleITKIO."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from nnunet_losses.serve.errors import Code
from nnunet_losses.serve.formats import read_image, read_mask
from nnunet_losses.serve.schema import Reader

from .files import (
    PIXDIM,
    QFORM_CODE,
    SCL_INTER,
    SCL_SLOPE,
    compressed,
    noise,
    patch,
    refusal_code,
    replace,
    rotation,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.image import Image

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl")


def read(*files: Path) -> Image:
    return read_image(files, reader=Reader.SIMPLE_ITK)


def assert_as_nnunet(*files: Path) -> None:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    expected, properties = SimpleITKIO().read_images([str(file) for file in files])
    image = read(*files)
    assert image.data.dtype == np.float32
    np.testing.assert_array_equal(image.data, expected)
    assert list(image.spacing) == list(properties["spacing"])
    stuff = properties["sitk_stuff"]
    assert (image.geometry.spacing, image.geometry.origin, image.geometry.direction) == (
        stuff["spacing"],
        stuff["origin"],
        stuff["direction"],
    )


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_endings_and_types(tmp_path: Path, ending: str, dtype: str) -> None:
    assert_as_nnunet(write(tmp_path / f"a{ending}", noise(dtype=dtype)))


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint32", "int64", "uint64", "float64"])
@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_more_types(tmp_path: Path, ending: str, dtype: str) -> None:
    assert_as_nnunet(write(tmp_path / f"a{ending}", noise(dtype=dtype)))


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_compressed_inside(tmp_path: Path, ending: str) -> None:
    assert_as_nnunet(write(tmp_path / f"a{ending}", noise(), compress=True))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_two_dimensions_get_the_fake_spacing(tmp_path: Path, ending: str) -> None:
    file = write(tmp_path / f"a{ending}", noise((6, 7)))
    assert_as_nnunet(file)
    image = read(file)
    assert image.data.shape == (1, 1, 6, 7)
    assert image.spacing == (0.75 * 999, 0.75, 0.5)
    assert image.geometry.dimension == 2


@pytest.mark.parametrize("degrees", [0.0, 12.0, 90.0, 180.0])
def test_orientations(tmp_path: Path, degrees: float) -> None:
    assert_as_nnunet(write(tmp_path / "a.nii.gz", noise(), direction=rotation(degrees)))


def test_single_slice_volume(tmp_path: Path) -> None:
    assert_as_nnunet(write(tmp_path / "a.nii.gz", noise((1, 6, 7))))


def test_upper_case_ending(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nii", noise())
    upper = compressed(file).rename(tmp_path / "B.NII.GZ")
    np.testing.assert_array_equal(read(upper).data, read(file).data)


@pytest.mark.parametrize("shape", [(7, 6, 5, 1), (7, 6, 5, 1, 1), (7, 6, 1, 1)])
def test_trailing_dimensions_of_one_are_dropped_as_by_itk(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nibabel.save(nibabel.Nifti1Image(noise(shape), np.eye(4)), tmp_path / "a.nii.gz")
    assert_as_nnunet(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [">i2", ">f4", ">f8"])
def test_big_endian(tmp_path: Path, dtype: str, ending: str) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(dtype)
    nibabel.save(nibabel.Nifti1Image(noise(dtype=dtype), np.eye(4), header), tmp_path / f"a{ending}")
    assert_as_nnunet(tmp_path / f"a{ending}")


def test_scaling_slope(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nii", noise(dtype="int16"))
    patch(file, SCL_SLOPE, "<ff", 0.5, -1024.0)
    assert_as_nnunet(file)
    assert read(file).warnings == ()


def test_slope_zero_is_warned_of(tmp_path: Path) -> None:
    file = patch(write(tmp_path / "a.nii", noise()), SCL_SLOPE, "<f", 0.0)
    assert read(file).warnings == ()
    patch(file, SCL_INTER, "<f", 5.0)
    assert_as_nnunet(file)
    assert [code for code, _ in read(file).warnings] == ["input.scaling_repaired"]


def test_two_spacings_in_one_header(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nii", noise())
    assert read(file).warnings == ()
    patch(file, PIXDIM + 12, "<f", 5.0)
    assert_as_nnunet(file)
    ((code, sentence),) = read(file).warnings
    assert code == "input.spacing_contradictory"
    assert "0.5 x 0.75 x 5 mm" in sentence


def test_itk_prints_no_paths(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read(patch(write(tmp_path / "a.nii", noise()), PIXDIM + 12, "<f", 5.0))
    assert capfd.readouterr() == ("", "")


def test_without_transform(tmp_path: Path) -> None:
    assert_as_nnunet(patch(write(tmp_path / "a.nii", noise()), QFORM_CODE, "<hh", 0, 0))


def test_negative_pixdim_axis_of_nibabel(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(noise(), np.diag([-1.5, -2, 3, 1])), tmp_path / "a.nii.gz")
    assert_as_nnunet(tmp_path / "a.nii.gz")


def test_several_gzip_members_and_padding(tmp_path: Path) -> None:
    import gzip

    plain = write(tmp_path / "a.nii", noise()).read_bytes()
    parts = gzip.compress(plain[:100]) + gzip.compress(plain[100:])
    file = tmp_path / "b.nii.gz"
    file.write_bytes(parts)
    np.testing.assert_array_equal(read(file).data[0], noise())
    file.write_bytes(parts + b"\0" * 512)
    np.testing.assert_array_equal(read(file).data[0], noise())


def test_nrrd_with_spacings_and_without(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nrrd", noise())
    text = file.read_bytes().split(b"\n\n", 1)
    lines = [line for line in text[0].split(b"\n") if not line.startswith((b"space", b"kinds"))]
    bare = tmp_path / "bare.nrrd"
    bare.write_bytes(b"\n".join(lines) + b"\n\n" + text[1])
    assert_as_nnunet(bare)
    assert [code for code, _ in read(bare).warnings] == ["input.spacing_missing"]
    bare.write_bytes(b"\r\n".join([*lines, b"spacings: 0.5 1 2"]) + b"\r\n\r\n" + text[1])
    assert_as_nnunet(bare)
    assert read(bare).warnings == ()


def test_bzip2_in_nrrd(tmp_path: Path) -> None:
    import bz2

    file = write(tmp_path / "a.nrrd", noise())
    head, voxels = file.read_bytes().split(b"\n\n", 1)
    packed = bz2.compress(voxels)
    file.write_bytes(head.replace(b"encoding: raw", b"encoding: bzip2") + b"\n\n" + packed[:-8])
    assert refusal_code(lambda: read(file)) is Code.INPUT_TRUNCATED
    file.write_bytes(head.replace(b"encoding: raw", b"encoding: bzip2") + b"\n\n" + packed)
    # this build of ITK has no bzip2; what matters is that nothing is made up
    assert refusal_code(lambda: read(file)) is Code.INPUT_UNREADABLE


def test_mha_without_spacing_is_warned_of(tmp_path: Path) -> None:
    file = replace(write(tmp_path / "a.mha", noise()), b"ElementSpacing = 0.5 0.75 2\n", b"")
    assert_as_nnunet(file)
    assert [code for code, _ in read(file).warnings] == ["input.spacing_missing"]


def test_surplus_of_less_than_a_slice_is_warned_of(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nii", noise())
    file.write_bytes(file.read_bytes() + b"\0" * 10)
    assert_as_nnunet(file)
    assert [code for code, _ in read(file).warnings] == ["input.surplus_bytes"]


def test_the_hash_is_of_the_files_bytes_in_order(tmp_path: Path) -> None:
    files = [write(tmp_path / name, noise(seed=seed)) for seed, name in enumerate(("b.nii.gz", "a.mha"))]
    joined = b"".join(file.read_bytes() for file in files)
    assert read(*files).sha256 == hashlib.sha256(joined).hexdigest()


def test_overflow_becomes_infinite_for_the_contract_to_refuse(tmp_path: Path) -> None:
    voxels = noise(dtype="float64")
    voxels[0, 0, 0] = 1e300
    assert np.isinf(read(write(tmp_path / "a.nii", voxels)).data[0, 0, 0, 0])


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_itk_hides_voxels_that_are_not_finite_but_we_do_not(tmp_path: Path, dtype: str, ending: str) -> None:
    voxels = np.full((40, 90, 100), 7.0)  # more than one piece of the pass over the file
    broken = [(0, 0, 0), (17, 3, 5), (39, 89, 98), (39, 89, 99)]
    for position, value in zip(broken, (np.nan, np.inf, -np.inf, np.nan), strict=True):
        voxels[position] = value
    header = nibabel.Nifti1Header(endianness=dtype[0])
    header.set_data_dtype(dtype)
    nibabel.save(nibabel.Nifti1Image(voxels.T.astype(dtype), np.eye(4), header), tmp_path / f"a{ending}")
    read_back = read(tmp_path / f"a{ending}").data[0]
    assert [tuple(index) for index in np.argwhere(np.isnan(read_back)).tolist()] == broken
    assert (read_back[np.isfinite(read_back)] == 7).all()


def test_read_mask(tmp_path: Path) -> None:
    mask = (noise() > 50).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "a.nii.gz", mask)), mask)
    flat = write(tmp_path / "b.nii.gz", mask[0])
    assert read_mask(flat).shape == (1, 6, 7)


@pytest.mark.parametrize("case", ["hippocampus_004"])
def test_real_file(shared: Path, case: str) -> None:
    assert_as_nnunet(shared / "data" / "hippocampus3d" / "imagesTs" / f"{case}_0000.nii.gz")
