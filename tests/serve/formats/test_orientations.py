"""NibabelIO, NibabelIOWithReorient and SimpleITKIOWithReorient: arrays, spacings and masks as nnU-Net's."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_losses.serve.errors import Code
from nnunet_losses.serve.formats import read_image, read_mask, write_mask
from nnunet_losses.serve.schema import Reader

from .files import (
    DATATYPE,
    PIXDIM,
    QFORM_CODE,
    SCL_INTER,
    SCL_SLOPE,
    SROW,
    VOX_OFFSET,
    compressed,
    cut,
    noise,
    patch,
    refusal_code,
    rotation,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image

NIBABEL = (Reader.NIBABEL, Reader.NIBABEL_REORIENT)
ALL = (*NIBABEL, Reader.SIMPLE_ITK, Reader.SIMPLE_ITK_REORIENT)
CODES = [
    "".join(letters)
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for letters in itertools.product(*axes)
]
SHAPE = (5, 6, 7)  # x, y, z of the file
EULER = (12.0, -7.0, 19.0)


def nnunet(reader: Reader) -> Any:
    from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name

    return recursive_find_reader_writer_by_name(reader.value)()


def affine(code: str, spacing: tuple[float, ...] = (0.7, 1.3, 2.9), *, oblique: bool) -> NDArray[np.float64]:
    """Axes that point as the three letters say, turned a little where oblique."""
    matrix = np.zeros((3, 3))
    for axis, letter in enumerate(code):
        row = next(index for index, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        matrix[row, axis] = spacing[axis] * (1 if letter in "RAS" else -1)
    result = np.eye(4)
    result[:3, :3] = (nibabel.eulerangles.euler2mat(*np.radians(EULER)) if oblique else np.eye(3)) @ matrix
    result[:3, 3] = (-11.5, 4.25, 30.125)
    return result


def nifti(path: Path, matrix: NDArray[np.float64], dtype: str = "int16", seed: int = 0) -> Path:
    nibabel.save(nibabel.Nifti1Image(noise(SHAPE, dtype, seed), matrix), path)
    return path


def read(*files: Path, reader: Reader) -> Image:
    return read_image(files, reader=reader)


def assert_as_nnunet(*files: Path, reader: Reader) -> None:
    """The same array (memory layout included: sums depend on it), spacing, and bytes of a mask."""
    theirs, properties = nnunet(reader).read_images([str(file) for file in files])
    image = read(*files, reader=reader)
    np.testing.assert_array_equal(image.data, theirs)
    assert (image.data.dtype, image.data.strides) == (theirs.dtype, theirs.strides)
    assert list(image.spacing) == list(properties["spacing"])
    mask = np.random.default_rng(1).integers(0, 4, image.shape)
    expected, written = files[0].with_name("expected.nii.gz"), files[0].with_name("written.nii.gz")
    nnunet(reader).write_seg(mask, str(expected), properties)
    write_mask(mask, written, geometry=image.geometry, reader=reader)
    assert written.read_bytes() == expected.read_bytes()
    np.testing.assert_array_equal(read_mask(written, reader=reader), mask)


@pytest.mark.parametrize("reader", ALL)
@pytest.mark.parametrize("code", CODES)
def test_all_orientations(tmp_path: Path, code: str, reader: Reader) -> None:
    for oblique in (False, True):
        assert_as_nnunet(nifti(tmp_path / "a.nii.gz", affine(code, oblique=oblique)), reader=reader)


@pytest.mark.parametrize("reader", [Reader.NIBABEL_REORIENT, Reader.SIMPLE_ITK_REORIENT])
def test_turned_images_lie_alike(tmp_path: Path, reader: Reader) -> None:
    """One head, stored in 48 ways, is one array; and the geometry is the turned array's."""
    world = nibabel.Nifti1Image(noise(SHAPE), affine("RAS", oblique=True))
    first: Image | None = None
    for code in CODES:
        axes = nibabel.orientations.axcodes2ornt(code)
        stored = world.as_reoriented(
            nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), axes)
        )
        nibabel.save(stored, tmp_path / "a.nii.gz")
        image = read(tmp_path / "a.nii.gz", reader=reader)
        first = first or image
        np.testing.assert_array_equal(image.data, first.data)
        np.testing.assert_allclose(image.geometry.origin, first.geometry.origin, atol=1e-4)
        np.testing.assert_allclose(image.geometry.direction, first.geometry.direction, atol=1e-5)


def test_the_two_libraries_agree_where_the_voxels_lie(tmp_path: Path) -> None:
    for code in CODES:
        file = nifti(tmp_path / "a.nii.gz", affine(code, oblique=True))
        ours, itk = (read(file, reader=reader).geometry for reader in (Reader.NIBABEL, Reader.SIMPLE_ITK))
        np.testing.assert_allclose(ours.spacing, itk.spacing, rtol=1e-6)
        np.testing.assert_allclose(ours.origin, itk.origin, atol=1e-4)
        np.testing.assert_allclose(ours.direction, itk.direction, atol=1e-5)


@pytest.mark.parametrize("reader", NIBABEL)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", ">i2"],
)
def test_types(tmp_path: Path, dtype: str, ending: str, reader: Reader) -> None:
    header = nibabel.Nifti1Header(endianness=">" if ">" in dtype else "<")
    header.set_data_dtype(dtype)
    voxels = noise(SHAPE, dtype)
    nibabel.save(nibabel.Nifti1Image(voxels, affine("PIR", oblique=True), header), tmp_path / f"a{ending}")
    assert_as_nnunet(tmp_path / f"a{ending}", reader=reader)


@pytest.mark.parametrize("reader", ALL)
@pytest.mark.parametrize("scaling", [(0.5, -1024.0), (1.0, 3.0), (-2.5, 0.1), (0.1, 0.0)])
@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
def test_scaling(tmp_path: Path, dtype: str, scaling: tuple[float, float], reader: Reader) -> None:
    file = nifti(tmp_path / "a.nii", affine("LAS", oblique=False), dtype)
    assert_as_nnunet(patch(file, SCL_SLOPE, "<ff", *scaling), reader=reader)


@pytest.mark.parametrize("reader", NIBABEL)
def test_slope_zero_is_no_scaling(tmp_path: Path, reader: Reader) -> None:
    file = patch(nifti(tmp_path / "a.nii", affine("RAS", oblique=False)), SCL_SLOPE, "<ff", 0.0, 5.0)
    assert_as_nnunet(file, reader=reader)
    ((code, sentence),) = read(file, reader=reader).warnings
    assert code == "input.scaling_repaired"
    assert "5 was ignored" in sentence


@pytest.mark.parametrize("reader", [*NIBABEL, Reader.SIMPLE_ITK_REORIENT])
@pytest.mark.parametrize("high", [2, 255, 256])
def test_masks_with_many_labels(tmp_path: Path, high: int, reader: Reader) -> None:
    if reader is Reader.SIMPLE_ITK_REORIENT and high > 256:
        pytest.skip("its writer has 8 bits")
    file = nifti(tmp_path / "a.nii.gz", affine("SPL", oblique=True))
    _, properties = nnunet(reader).read_images([str(file)])
    image = read(file, reader=reader)
    mask = np.random.default_rng(1).integers(0, high, image.shape)
    mask[0, 0, 0] = high - 1
    nnunet(reader).write_seg(mask, str(tmp_path / "b.nii.gz"), properties)
    write_mask(mask, tmp_path / "c.nii.gz", geometry=image.geometry, reader=reader)
    assert (tmp_path / "c.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("reader", NIBABEL)
@pytest.mark.parametrize("codes", [(1, 0), (0, 0), (4, 2)])
def test_where_the_position_comes_from(tmp_path: Path, codes: tuple[int, int], reader: Reader) -> None:
    file = nifti(tmp_path / "a.nii", affine("LIP", oblique=True))
    assert_as_nnunet(patch(file, QFORM_CODE, "<hh", *codes), reader=reader)


@pytest.mark.parametrize("reader", NIBABEL)
def test_sheared_axes_are_nnunets_too(tmp_path: Path, reader: Reader) -> None:
    shear = np.array([[1, 0.3, 0, 0], [0, -1, 0, 0], [0, 0.1, 2, 0], [0, 0, 0, 1.0]])
    assert_as_nnunet(nifti(tmp_path / "a.nii.gz", shear), reader=reader)


@pytest.mark.parametrize("reader", NIBABEL)
def test_spacing_against_position_is_told(tmp_path: Path, reader: Reader) -> None:
    for code in ("RAS", "LIP"):
        file = patch(nifti(tmp_path / "a.nii", affine(code, oblique=False)), PIXDIM + 12, "<f", 5.0)
        assert_as_nnunet(file, reader=reader)
        codes = dict(read(file, reader=reader).warnings)
        used = "spacing" if reader is Reader.NIBABEL or code == "RAS" else "position"
        assert f"the {used} was used" in codes["input.spacing_contradictory"]


@pytest.mark.parametrize("reader", NIBABEL)
def test_sform_against_qform_is_told(tmp_path: Path, reader: Reader) -> None:
    image = nibabel.Nifti1Image(noise(SHAPE), affine("RAS", oblique=False))
    image.set_qform(affine("LAS", oblique=False), 1)
    nibabel.save(image, tmp_path / "a.nii.gz")
    assert_as_nnunet(tmp_path / "a.nii.gz", reader=reader)
    ((code, _),) = read(tmp_path / "a.nii.gz", reader=reader).warnings
    assert code == "input.position_contradictory"
    image.set_qform(affine("RAS", oblique=False), 1)
    nibabel.save(image, tmp_path / "a.nii.gz")
    assert read(tmp_path / "a.nii.gz", reader=reader).warnings == ()


@pytest.mark.parametrize("reader", ALL)
def test_several_channels(tmp_path: Path, reader: Reader) -> None:
    files = [nifti(tmp_path / f"{seed}.nii.gz", affine("ALS", oblique=True), seed=seed) for seed in (0, 1)]
    assert_as_nnunet(*files, reader=reader)


@pytest.mark.parametrize("reader", [Reader.NIBABEL_REORIENT, Reader.SIMPLE_ITK_REORIENT])
def test_channels_may_be_stored_differently_where_they_are_turned(tmp_path: Path, reader: Reader) -> None:
    world = nibabel.Nifti1Image(noise(SHAPE), affine("RAS", oblique=False))
    axes = nibabel.orientations.axcodes2ornt("LPS")
    nibabel.save(world, tmp_path / "a.nii.gz")
    nibabel.save(world.as_reoriented(axes), tmp_path / "b.nii.gz")
    assert_as_nnunet(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", reader=reader)


@pytest.mark.parametrize("reader", ALL)
def test_channels_at_different_places(tmp_path: Path, reader: Reader) -> None:
    elsewhere = affine("RAS", oblique=False)
    elsewhere[0, 3] += 0.4
    one = nifti(tmp_path / "a.nii.gz", affine("RAS", oblique=False))
    two = nifti(tmp_path / "b.nii.gz", elsewhere)
    assert [code for code, _ in read(one, two, reader=reader).warnings] == ["input.geometry_differs"]
    elsewhere[0, 3] += 9
    nifti(two, elsewhere)
    assert refusal_code(lambda: read(one, two, reader=reader)) is Code.CONTRACT_GEOMETRY_MISMATCH
    other = nifti(tmp_path / "c.nii.gz", affine("RAS", (0.7, 1.3, 3.9), oblique=False))
    assert refusal_code(lambda: read(one, other, reader=reader)) is Code.CONTRACT_GEOMETRY_MISMATCH


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_simpleitk_turns_other_formats(tmp_path: Path, ending: str) -> None:
    file = write(tmp_path / f"a{ending}", noise(), direction=rotation(100))
    assert_as_nnunet(file, reader=Reader.SIMPLE_ITK_REORIENT)


@pytest.mark.parametrize("reader", [*NIBABEL, Reader.SIMPLE_ITK_REORIENT])
def test_voxels_that_are_not_finite_stay_so(tmp_path: Path, reader: Reader) -> None:
    found = []
    for values in ((1e6, 1e6), (np.nan, np.inf)):
        voxels = noise(SHAPE)
        voxels[1, 2, 3], voxels[0, 0, 4] = values
        nibabel.save(nibabel.Nifti1Image(voxels, affine("LPS", oblique=False)), tmp_path / "a.nii.gz")
        data = read(tmp_path / "a.nii.gz", reader=reader).data
        found.append(np.argwhere(~(data < 1e5)))
    assert len(found[0]) == 2
    np.testing.assert_array_equal(*found)


def test_upper_case_ending(tmp_path: Path) -> None:
    file = nifti(tmp_path / "a.nii", affine("RAS", oblique=False))
    upper = compressed(file).rename(tmp_path / "B.NII.GZ")
    both = (read(name, reader=Reader.NIBABEL).data for name in (upper, file))
    np.testing.assert_array_equal(*both)


def damaged(*changes: tuple[int, str, Any]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = nifti(folder / "a.nii", affine("LAS", oblique=False))
        for offset, form, value in changes:
            patch(file, offset, form, *np.atleast_1d(value).tolist())
        return file

    return make


def saved(voxels: NDArray[Any], kind: Any = nibabel.Nifti1Image) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        nibabel.save(kind(voxels, np.eye(4)), folder / "a.nii.gz")
        return folder / "a.nii.gz"

    return make


NAN = float("nan")
COLOURS = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
CORPUS: dict[str, tuple[Callable[[Path], Path], Code]] = {
    "absent": (lambda folder: folder / "a.nii.gz", Code.INPUT_MISSING),
    "truncated": (lambda folder: cut(damaged()(folder), 0.6), Code.INPUT_TRUNCATED),
    "truncated gzip": (lambda folder: cut(saved(noise((20, 20, 20)))(folder), 0.6), Code.INPUT_TRUNCATED),
    "whole gzip of half a file": (
        lambda folder: compressed(cut(damaged()(folder), 0.6)),
        Code.INPUT_TRUNCATED,
    ),
    "two dimensions": (saved(noise((7, 6))), Code.INPUT_UNSUPPORTED_FORMAT),
    "four dimensions": (saved(noise((7, 6, 5, 2))), Code.INPUT_UNSUPPORTED_FORMAT),
    "a fourth dimension of one": (saved(noise((7, 6, 5, 1))), Code.INPUT_UNSUPPORTED_FORMAT),
    "rgb": (saved(COLOURS), Code.INPUT_UNSUPPORTED_FORMAT),
    "complex": (saved(noise().astype("complex64")), Code.INPUT_UNSUPPORTED_FORMAT),
    "nifti 2": (saved(noise(), nibabel.Nifti2Image), Code.INPUT_UNSUPPORTED_FORMAT),
    "nan spacing": (damaged((PIXDIM + 4, "<f", NAN)), Code.INPUT_CORRUPT),
    "zero spacing": (damaged((PIXDIM + 8, "<f", 0.0)), Code.INPUT_CORRUPT),
    "nan slope": (damaged((SCL_SLOPE, "<f", NAN)), Code.INPUT_CORRUPT),
    "infinite intercept": (damaged((SCL_INTER, "<f", np.inf)), Code.INPUT_CORRUPT),
    "early voxels": (damaged((VOX_OFFSET, "<f", 348.0)), Code.INPUT_CORRUPT),
    "unknown type": (damaged((DATATYPE, "<h", 77)), Code.INPUT_CORRUPT),
    "nan in the affine": (damaged((SROW, "<f", NAN)), Code.INPUT_CORRUPT),
    "flat affine": (damaged((SROW, "<4f", (0.0, 0.0, 0.0, 0.0))), Code.INPUT_CORRUPT),
    "parallel axes": (
        damaged((SROW, "<4f", (1, 1, 0, 0)), (SROW + 16, "<4f", (1, 1, 0, 0))),
        Code.INPUT_CORRUPT,
    ),
    "impossible quaternion": (
        damaged((QFORM_CODE, "<2h", (1, 0)), (256, "<3f", (0.9, 0.9, 0.9))),
        Code.INPUT_CORRUPT,
    ),
    "text": (lambda folder: compressed(_text(folder)), Code.INPUT_UNSUPPORTED_FORMAT),
    "metaimage": (lambda folder: write(folder / "a.mha", noise()), Code.INPUT_UNSUPPORTED_FORMAT),
}  # fmt: skip


def _text(folder: Path) -> Path:
    (folder / "a.nii").write_bytes(b"not an image\n" * 99)
    return folder / "a.nii"


@pytest.mark.parametrize("reader", NIBABEL)
@pytest.mark.parametrize("name", CORPUS)
def test_nibabel_refuses(tmp_path: Path, name: str, reader: Reader) -> None:
    make, code = CORPUS[name]
    file = make(tmp_path)
    assert refusal_code(lambda: read(file, reader=reader)) is code


def test_an_impossible_quaternion_beside_an_sform(tmp_path: Path) -> None:
    file = damaged((QFORM_CODE, "<2h", (1, 2)), (256, "<3f", (0.9, 0.9, 0.9)))(tmp_path)
    for reader in NIBABEL:
        assert refusal_code(lambda: read(file, reader=reader)) is Code.INPUT_UNSUPPORTED_FORMAT  # noqa: B023


def test_simpleitk_cannot_turn_a_flat_image(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nii.gz", noise((6, 7)))
    code = refusal_code(lambda: read(file, reader=Reader.SIMPLE_ITK_REORIENT))
    assert code is Code.INPUT_UNSUPPORTED_FORMAT
    with pytest.raises(RuntimeError, match="Length of input"):
        nnunet(Reader.SIMPLE_ITK_REORIENT).read_images([str(file)])


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = damaged((VOX_OFFSET, "<f", 353.0), (PIXDIM + 12, "<f", 5.0))(tmp_path)
    file.write_bytes(file.read_bytes() + b"\0")
    for reader in NIBABEL:
        read(file, reader=reader)
    assert capfd.readouterr() == ("", "")


def test_sitk_and_nibabel_readers_differ_where_nnunets_do(tmp_path: Path) -> None:
    """A file of RAS axes is flipped by one reader and not by the other; a runtime must not confuse them."""
    file = nifti(tmp_path / "a.nii.gz", affine("LPI", oblique=False))
    plain, turned = (read(file, reader=reader).data for reader in NIBABEL)
    np.testing.assert_array_equal(plain[:, ::-1, ::-1, ::-1], turned)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(file))).shape == plain.shape[1:]
