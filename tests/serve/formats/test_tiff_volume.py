"""Tiff3DIO: volumes, their spacing in a JSON file, masks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from nnunet_losses.serve.errors import Code
from nnunet_losses.serve.formats import Limits, companions, read_image, read_mask, write_mask
from nnunet_losses.serve.schema import Reader

from .files import cut, noise, refusal_code, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nnunet_losses.serve.image import Image

SPACING = [2.5, 0.5, 0.75]


def tif(folder: Path, name: str = "a_0000.tif", voxels: np.ndarray | None = None, **options: Any) -> Path:
    array = noise((6, 7, 8), "uint16") if voxels is None else voxels
    tifffile.imwrite(folder / name, array, **{"photometric": "minisblack", **options})
    return folder / name


def sidecar(folder: Path, content: Any = None) -> Path:
    text = json.dumps({"spacing": SPACING} if content is None else content)
    (folder / "a.json").write_text(text)
    return folder / "a.json"


def read(*files: Path, limits: Limits | None = None) -> Image:
    return read_image(files, reader=Reader.TIFF_3D, limits=limits or Limits())


def assert_as_nnunet(*files: Path) -> None:
    from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

    theirs, properties = Tiff3DIO().read_images([str(file) for file in files])
    image = read(*files)
    np.testing.assert_array_equal(image.data, theirs)
    assert (image.data.dtype, image.data.strides) == (theirs.dtype, theirs.strides)
    assert list(image.spacing) == list(properties["spacing"])
    mask = np.random.default_rng(0).integers(0, 4, image.shape)
    expected, written = files[0].with_name("expected.tif"), files[0].with_name("written.tif")
    Tiff3DIO().write_seg(mask, str(expected), properties)
    write_mask(mask, written, geometry=image.geometry, reader=Reader.TIFF_3D)
    assert written.read_bytes() == expected.read_bytes()
    np.testing.assert_array_equal(read_mask(written, reader=Reader.TIFF_3D), mask)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
)
@pytest.mark.parametrize("ending", [".tif", ".tiff"])
def test_types_and_endings(tmp_path: Path, dtype: str, ending: str) -> None:
    sidecar(tmp_path)
    assert_as_nnunet(tif(tmp_path, f"a_0000{ending}", noise((6, 7, 8), dtype)))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"byteorder": ">"},
        {"tile": (16, 16)},
        {"imagej": True},
        {"ome": True},
        {"bigtiff": True},
        {"metadata": None},
        {"contiguous": False, "rowsperstrip": 2},
    ],
)
def test_ways_to_store(tmp_path: Path, options: dict[str, Any]) -> None:
    sidecar(tmp_path)
    assert_as_nnunet(tif(tmp_path, **options))


def test_channels_share_the_spacing(tmp_path: Path) -> None:
    sidecar(tmp_path)
    (tmp_path / "far").mkdir()
    second = tif(tmp_path / "far", "a_0001.tif", noise((6, 7, 8), seed=1))
    assert_as_nnunet(tif(tmp_path), second)
    assert read(tif(tmp_path), second).warnings == ()


def test_without_spacing(tmp_path: Path) -> None:
    file = tif(tmp_path)
    assert_as_nnunet(file)
    assert [code for code, _ in read(file).warnings] == ["input.spacing_missing"]
    assert read(file).spacing == (1.0, 1.0, 1.0)


def test_the_spacing_is_part_of_the_input(tmp_path: Path) -> None:
    file = tif(tmp_path)
    without = read(file).sha256
    sidecar(tmp_path)
    image = read(file)
    assert image.sha256 != without
    assert image.geometry.spacing == (0.75, 0.5, 2.5)
    assert companions([file], Reader.TIFF_3D) == (tmp_path / "a.json",)
    assert companions([file], Reader.NIBABEL) == ()


@pytest.mark.parametrize(
    "content",
    [[], {}, {"spacing": [1, 2]}, {"spacing": [1, 2, 0]}, {"spacing": [1, 2, -3]}, {"spacing": [1, 2, "x"]},
     {"spacing": [1, 2, float("nan")]}, {"spacing": None}],
)  # fmt: skip
def test_a_spacing_that_cannot_be(tmp_path: Path, content: Any) -> None:
    sidecar(tmp_path, content)
    file = tif(tmp_path)
    assert refusal_code(lambda: read(file)) is Code.INPUT_CORRUPT


def test_a_spacing_file_that_is_no_json(tmp_path: Path) -> None:
    file = tif(tmp_path)
    (tmp_path / "a.json").write_bytes(b"{\xff")
    assert refusal_code(lambda: read(file)) is Code.INPUT_CORRUPT
    (tmp_path / "a.json").write_bytes(b" " * (1 << 21))
    assert refusal_code(lambda: read(file)) is Code.INPUT_CORRUPT


def test_further_images_are_told_of(tmp_path: Path) -> None:
    file = tif(tmp_path)
    tifffile.imwrite(file, np.zeros((9, 9), np.uint8), append=True, photometric="minisblack")
    sidecar(tmp_path)
    assert_as_nnunet(file)
    ((code, sentence),) = read(file).warnings
    assert code == "input.further_images"
    assert "1 more image;" in sentence


def damaged_page(folder: Path) -> Path:
    """Deflated bits that are none."""
    file = tif(folder, voxels=noise((6, 70, 80), "uint16"), compression="zlib")
    data = bytearray(file.read_bytes())
    with tifffile.TiffFile(file) as opened:
        begin = opened.pages[3].dataoffsets[0]
    data[begin : begin + 40] = b"\xff" * 40
    file.write_bytes(data)
    return file


CORPUS: dict[str, tuple[Callable[[Path], Path], Code]] = {
    "absent": (lambda folder: folder / "a.tif", Code.INPUT_MISSING),
    "truncated": (lambda folder: cut(tif(folder, metadata=None), 0.7), Code.INPUT_TRUNCATED),
    "truncated voxels": (
        lambda folder: cut(tif(folder, voxels=noise((9, 99, 99))), 0.7),
        Code.INPUT_TRUNCATED,
    ),
    "damaged page": (damaged_page, Code.INPUT_CORRUPT),
    "one picture": (lambda folder: tif(folder, voxels=noise((7, 8))), Code.INPUT_UNSUPPORTED_FORMAT),
    "colours": (
        lambda folder: tif(folder, voxels=np.zeros((7, 8, 3), np.uint8), photometric="rgb"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "volume in colours": (
        lambda folder: tif(folder, voxels=np.zeros((5, 7, 8, 3), np.uint8), photometric="rgb"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "four dimensions": (
        lambda folder: tif(folder, voxels=noise((2, 5, 7, 8))),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "complex": (
        lambda folder: tif(folder, voxels=noise((5, 7, 8)).astype("complex64")),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "nifti named tif": (
        lambda folder: write(folder / "a.nii", noise()).rename(folder / "a.tif"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "nifti": (lambda folder: write(folder / "a.nii", noise()), Code.INPUT_UNSUPPORTED_FORMAT),
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
def test_is_refused(tmp_path: Path, name: str) -> None:
    make, code = CORPUS[name]
    file = make(tmp_path)
    assert refusal_code(lambda: read(file)) is code


def test_channels_of_different_sizes(tmp_path: Path) -> None:
    files = tif(tmp_path), tif(tmp_path, "a_0001.tif", noise((6, 7, 9)))
    assert refusal_code(lambda: read(*files)) is Code.CONTRACT_GEOMETRY_MISMATCH


def test_budgets(tmp_path: Path) -> None:
    file = tif(tmp_path)
    assert refusal_code(lambda: read(file, limits=Limits(decoded_bytes=10))) is Code.INPUT_TOO_LARGE
    assert refusal_code(lambda: read(file, limits=Limits(picture_pixels=10))) is Code.INPUT_TOO_LARGE
    assert refusal_code(lambda: read(file, limits=Limits(file_bytes=10))) is Code.INPUT_TOO_LARGE


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tif(tmp_path)

    def lacks(*_: Any, **__: Any) -> None:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffFile, "asarray", lacks)
    assert refusal_code(lambda: read(file)) is Code.INPUT_UNSUPPORTED_FORMAT


def test_neighbours_that_an_ome_file_names_are_not_opened(tmp_path: Path) -> None:
    other = tif(tmp_path, "other.ome.tif", noise((1, 7, 8), "uint16"), ome=True)
    file = tif(tmp_path, "a_0000.tif", noise((1, 7, 8), "uint16"), ome=True)
    with tifffile.TiffFile(file) as opened:
        text = opened.ome_metadata
    pieces = text.replace('SizeZ="1"', 'SizeZ="2"').split("<TiffData")
    neighbour = (
        f'<TiffData FirstZ="1" IFD="0"><UUID FileName="{other.name}">urn:uuid:1</UUID></TiffData><TiffData'
    )
    tifffile.imwrite(
        file, noise((7, 8), "uint16"), description=neighbour.join(pieces).encode(), metadata=None
    )
    assert refusal_code(lambda: read(file)) in (Code.INPUT_TRUNCATED, Code.INPUT_UNSUPPORTED_FORMAT)
