"""Masks: byte for byte as nnU-Net's writers, and never half a file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.serve.formats import read_image, read_mask, write_mask, write_text
from nnunet_losses.serve.formats.picture import GEOMETRY
from nnunet_losses.serve.schema import Reader

from .files import noise, rotation, write

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def mask(shape: tuple[int, ...] = (5, 6, 7), high: int = 4) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, high, shape)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".gipl"])
@pytest.mark.parametrize("high", [2, 255, 256, 3000])
def test_volumes_have_the_bytes_of_nnunet(tmp_path: Path, ending: str, high: int) -> None:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    source = write(tmp_path / "a.nii.gz", noise(), direction=rotation(20))
    _, properties = SimpleITKIO().read_images([str(source)])
    voxels = mask(high=high)
    voxels[0, 0, 0] = high - 1
    SimpleITKIO().write_seg(voxels.astype(np.uint16), str(tmp_path / f"b{ending}"), properties)
    geometry = read_image([source], reader=Reader.SIMPLE_ITK).geometry
    write_mask(voxels, tmp_path / f"c{ending}", geometry=geometry, reader=Reader.SIMPLE_ITK)
    assert (tmp_path / f"c{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    np.testing.assert_array_equal(read_mask(tmp_path / f"c{ending}"), voxels)


@pytest.mark.parametrize("high", [256, 301])
def test_no_label_becomes_another_one_where_the_reader_turns(tmp_path: Path, high: int) -> None:
    source = write(tmp_path / "a.nii.gz", noise(), direction=rotation(20))
    image = read_image([source], reader=Reader.SIMPLE_ITK_REORIENT)
    voxels = mask(image.shape, high=high)
    voxels[0, 0, 0] = high - 1
    write_mask(voxels, tmp_path / "b.nii.gz", geometry=image.geometry, reader=Reader.SIMPLE_ITK_REORIENT)
    found = read_mask(tmp_path / "b.nii.gz", reader=Reader.SIMPLE_ITK_REORIENT)
    np.testing.assert_array_equal(found, voxels)


def test_flat_volumes_have_the_bytes_of_nnunet(tmp_path: Path) -> None:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    source = write(tmp_path / "a.nii.gz", noise((6, 7)))
    _, properties = SimpleITKIO().read_images([str(source)])
    SimpleITKIO().write_seg(mask((1, 6, 7)).astype(np.uint8), str(tmp_path / "b.nii.gz"), properties)
    geometry = read_image([source], reader=Reader.SIMPLE_ITK).geometry
    write_mask(mask((1, 6, 7)), tmp_path / "c.nii.gz", geometry=geometry, reader=Reader.SIMPLE_ITK)
    assert (tmp_path / "c.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("high", [2, 255])
def test_pictures_have_the_bytes_of_nnunet(tmp_path: Path, ending: str, high: int) -> None:
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    voxels = mask((1, 30, 40), high=high)
    NaturalImage2DIO().write_seg(voxels.astype(np.uint8), str(tmp_path / f"b{ending}"), {})
    write_mask(voxels, tmp_path / f"c{ending}", geometry=GEOMETRY, reader=Reader.NATURAL_IMAGE_2D)
    assert (tmp_path / f"c{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_pictures_of_16_bits(tmp_path: Path) -> None:
    voxels = mask((1, 30, 40), high=900)
    write_mask(voxels, tmp_path / "c.png", geometry=GEOMETRY, reader=Reader.NATURAL_IMAGE_2D)
    np.testing.assert_array_equal(read_mask(tmp_path / "c.png"), voxels)


def test_bytes_do_not_depend_on_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = read_image([write(tmp_path / "a.nii.gz", noise())], reader=Reader.SIMPLE_ITK).geometry
    write_mask(mask(), tmp_path / "b.nii.gz", geometry=geometry, reader=Reader.SIMPLE_ITK)
    time.sleep(1.1)  # gzip's time stamp counts seconds
    write_mask(mask(), tmp_path / "c.nii.gz", geometry=geometry, reader=Reader.SIMPLE_ITK)
    assert (tmp_path / "b.nii.gz").read_bytes() == (tmp_path / "c.nii.gz").read_bytes()


def test_nothing_half_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import SimpleITK as sitk

    geometry = read_image([write(tmp_path / "a.nii.gz", noise())], reader=Reader.SIMPLE_ITK).geometry
    (tmp_path / "b.nii.gz").write_bytes(b"earlier")

    def fails(*args: object, **_: object) -> None:
        from pathlib import Path

        Path(str(args[1])).write_bytes(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(sitk, "WriteImage", fails)
    with pytest.raises(RuntimeError, match="disk full"):
        write_mask(mask(), tmp_path / "b.nii.gz", geometry=geometry, reader=Reader.SIMPLE_ITK)
    assert (tmp_path / "b.nii.gz").read_bytes() == b"earlier"
    assert {path.name for path in tmp_path.iterdir()} == {"a.nii.gz", "b.nii.gz"}


def test_text_replaces_text(tmp_path: Path) -> None:
    for text in ("one", "zwei äöü"):
        write_text(text, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "zwei äöü"
    assert len(list(tmp_path.iterdir())) == 1
