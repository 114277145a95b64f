"""Several channels in one case: one grid, or a refusal; small differences are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.schema import Reader

from .files import noise, refusal_code, rotation, write

if TYPE_CHECKING:
    from pathlib import Path


def pair(folder: Path, shape: tuple[int, ...] = (5, 6, 7), **second: Any) -> list[Path]:
    """Two channels, of which the second one differs as it is told."""
    first = write(folder / "a_0000.nii.gz", noise())
    return [first, write(folder / "a_0001.nii.gz", noise(shape, seed=1), **second)]


def test_channels_are_stacked_as_by_nnunet(tmp_path: Path) -> None:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    files = pair(tmp_path)
    files[1] = write(tmp_path / "b.mha", noise(dtype="int16", seed=3))
    expected, _ = SimpleITKIO().read_images([str(file) for file in files])
    image = read_image(files, reader=Reader.SIMPLE_ITK)
    np.testing.assert_array_equal(image.data, expected)
    assert image.warnings == ()


@pytest.mark.parametrize(
    "second",
    [
        {"shape": (5, 6, 8)},
        {"shape": (6, 7)},
        {"spacing": (0.5, 0.75, 2.1)},
        {"origin": (-3.0, 4.5, 13.0)},
        {"direction": rotation(30)},
    ],
)
def test_different_grids_are_refused(tmp_path: Path, second: dict[str, Any]) -> None:
    files = pair(tmp_path, **second)
    assert (
        refusal_code(lambda: read_image(files, reader=Reader.SIMPLE_ITK)) is Code.CONTRACT_GEOMETRY_MISMATCH
    )


@pytest.mark.parametrize(
    ("second", "voxels"),
    [({"origin": (-3.0, 4.5, 11.5)}, "0.75"), ({"direction": rotation(1.0)}, "")],
)
def test_small_shifts_are_told(tmp_path: Path, second: dict[str, Any], voxels: str) -> None:
    image = read_image(pair(tmp_path, **second), reader=Reader.SIMPLE_ITK)
    ((code, sentence),) = image.warnings
    assert code == "input.geometry_differs"
    assert voxels in sentence
    assert image.geometry.origin == (-3.0, 4.5, 10.0)


def test_the_distance_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        read_image(pair(tmp_path, origin=(-3.0, 4.5, 16.0)), reader=Reader.SIMPLE_ITK)
    assert caught.value.observed == 3.0


def test_a_shift_along_a_turned_axis_is_measured_in_its_voxels(tmp_path: Path) -> None:
    turned = rotation(90)  # the file's x axis, of 0.5 mm, is the patient's y axis
    first = write(tmp_path / "a.nii.gz", noise(), direction=turned, origin=(0, 0, 0))
    second = write(tmp_path / "b.nii.gz", noise(), direction=turned, origin=(0, 1.0, 0))
    with pytest.raises(Refusal) as caught:
        read_image([first, second], reader=Reader.SIMPLE_ITK)
    assert caught.value.observed == pytest.approx(2.0, abs=1e-3)


def test_rounding_in_headers_is_no_difference(tmp_path: Path) -> None:
    image = read_image(pair(tmp_path, origin=(-3.0, 4.50001, 10.0)), reader=Reader.SIMPLE_ITK)
    assert image.warnings == ()
