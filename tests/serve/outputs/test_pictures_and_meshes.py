"""Surfaces, overlays, probabilities and volumes say what the mask says."""

from __future__ import annotations

import json
import struct
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as Pillow

from nnunet_losses.serve.answer import Policy
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.formats.turning import own_grid
from nnunet_losses.serve.outputs import Options, OutputKind, write_outputs
from nnunet_losses.serve.outputs.colours import PALETTE, colour
from nnunet_losses.serve.outputs.surfaces import enclosed_volume
from nnunet_losses.serve.policies import OOD_SUPPRESSED
from nnunet_losses.serve.schema import Reader

from ...conftest import require
from ..formats.files import noise, rotation, write
from ..models import description, rgb_description
from .cases import answer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image

SPACING = (0.5, 0.75, 2.0)


def case(folder: Path, reader: Reader = Reader.SIMPLE_ITK) -> tuple[NDArray[np.uint8], Image]:
    """A box of label 1 (3 x 4 x 5 voxels) and one voxel of label 2 at the border, in a turned volume."""
    direction = rotation(30)
    file = write(folder / "a.nii.gz", noise((8, 9, 10)), spacing=SPACING, direction=direction)
    image = read_image([file], reader=reader)
    mask = np.zeros((8, 9, 10), np.uint8)
    mask[2:5, 3:7, 4:9] = 1
    mask[0, 0, 0] = 2
    return mask, image


def world(index: NDArray[Any], image: Image) -> NDArray[np.float64]:
    _, geometry = own_grid(np.zeros(image.shape), image.geometry)
    axes = np.array(geometry.direction).reshape(3, 3) * np.array(geometry.spacing)
    return np.asarray(index) @ axes.T + np.array(geometry.origin)


def read_stl(path: Path) -> NDArray[np.float32]:
    content = path.read_bytes()
    (count,) = struct.unpack_from("<I", content, 80)
    kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    return np.frombuffer(content, kind, count, 84)["corners"]


def test_stl_lies_where_the_label_lies(tmp_path: Path) -> None:
    mask, image = case(tmp_path)
    found = write_outputs(["stl"], mask, image, answer(), description(), tmp_path)
    assert [output.name for output in found] == ["segmentation.label_1.stl", "segmentation.label_2.stl"]
    assert found[0].path.read_bytes()[:9] == b"SPACE=LPS"
    corners = read_stl(found[0].path).astype(float)
    middle = world([6, 4.5, 3], image)
    assert np.allclose(
        (corners.reshape(-1, 3).min(axis=0) + corners.reshape(-1, 3).max(axis=0)) / 2, middle, atol=1e-4
    )
    vertices = corners.reshape(-1, 3)
    faces = np.arange(len(vertices), dtype=np.uint32).reshape(-1, 3)
    # marching cubes cut the box's edges off; never more than a voxel's share
    volume, whole = enclosed_volume(vertices, faces), 60 * np.prod(SPACING)
    assert 0.75 * whole < volume < whole


def test_glb_holds_named_meshes(tmp_path: Path) -> None:
    mask, image = case(tmp_path)
    (output,) = write_outputs(["glb"], mask, image, answer(), description(), tmp_path)
    content = output.path.read_bytes()
    magic, version, length, json_length, kind = struct.unpack_from("<4sIII4s", content)
    assert (magic, version, length, kind) == (b"glTF", 2, len(content), b"JSON")
    scene = json.loads(content[20 : 20 + json_length])
    assert [mesh["name"] for mesh in scene["meshes"]] == ["organ", "lesion"]
    assert scene["asset"]["extras"] == {"space": "LPS", "unit": "mm"}
    binary = content[20 + json_length + 8 :]
    points = scene["accessors"][0]
    view = scene["bufferViews"][points["bufferView"]]
    vertices = np.frombuffer(binary, "<f4", 3 * points["count"], view["byteOffset"]).reshape(-1, 3)
    assert np.allclose(
        (vertices.min(axis=0) + vertices.max(axis=0)) / 2, world([6, 4.5, 3], image), atol=1e-4
    )
    require(find_spec("trimesh"), "trimesh is not installed")
    import trimesh

    loaded = trimesh.load(output.path)
    assert all(mesh.is_watertight for mesh in loaded.geometry.values())


def test_nothing_marked_is_an_empty_scene_and_no_stl(tmp_path: Path) -> None:
    mask, image = case(tmp_path)
    found = write_outputs(["glb", "stl"], mask * 0, image, answer(), description(), tmp_path)
    assert [output.kind for output in found] == [OutputKind.GLB]


@pytest.mark.parametrize(
    "reader", [Reader.SIMPLE_ITK, Reader.SIMPLE_ITK_REORIENT, Reader.NIBABEL, Reader.NIBABEL_REORIENT]
)
def test_volumes_lie_on_the_file_s_grid(tmp_path: Path, reader: Reader) -> None:
    mask, image = case(tmp_path, reader)
    mask = np.random.default_rng(2).integers(0, 3, image.shape, dtype=np.uint8)
    kinds = ["mask", "nifti", "nrrd", "mha"]
    stems = [Options(stem=kind) for kind in kinds]
    source = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    found = []
    for kind, options in zip(kinds, stems, strict=True):
        (output,) = write_outputs(
            [kind], mask, image, answer(), description(reader=reader), tmp_path, options
        )
        read = sitk.ReadImage(str(output.path))
        assert read.GetSize() == source.GetSize()
        assert np.allclose(read.GetOrigin(), source.GetOrigin(), atol=1e-4)
        assert np.allclose(read.GetDirection(), source.GetDirection(), atol=1e-4)
        found.append(sitk.GetArrayFromImage(read))
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_the_overlay_shows_labels_in_their_colours(tmp_path: Path) -> None:
    mask, image = case(tmp_path)
    (output,) = write_outputs(["png"], mask, image, answer(), description(), tmp_path)
    pixels = np.asarray(Pillow.open(output.path)).reshape(-1, 3)
    for index in (0, 1):
        assert (pixels == colour(index)).all(axis=1).sum() > 100
    (other,) = write_outputs(["png"], mask * 0, image, answer(), description(), tmp_path)
    legend_only = np.asarray(Pillow.open(other.path)).reshape(-1, 3)
    assert (legend_only == colour(0)).all(axis=1).sum() == 15 * 15


def test_the_overlay_turns_the_patient_to_the_viewer(tmp_path: Path) -> None:
    """A bright spot at the patient's left front top is seen at the right, in the axial plane's upper half."""
    voxels = np.zeros((40, 40, 40), np.float32)
    voxels[30:36, 5:10, 28:34] = 100  # LPS: top, front, left
    image = read_image([write(tmp_path / "a.nii.gz", voxels, spacing=(1, 1, 1))], reader=Reader.SIMPLE_ITK)
    mask = (voxels > 0).astype(np.uint8)
    (output,) = write_outputs(["png"], mask, image, answer(), description(), tmp_path)
    pixels = np.asarray(Pillow.open(output.path))[12 : 12 + 384]
    y, x = np.nonzero((pixels == colour(0)).all(axis=2))
    for number, (right, upper) in enumerate([(True, True), (True, True), (False, True)]):
        inside = (x // 396) == number
        assert (np.median(x[inside]) - 396 * number - 12 > 192) == right
        assert (np.median(y[inside]) < 192) == upper


def test_a_picture_s_overlay(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(file)
    image = read_image([file], reader=Reader.NATURAL_IMAGE_2D)
    mask = np.zeros((1, 40, 60), np.uint8)
    mask[:, 10:20, 10:30] = 1
    (output,) = write_outputs(["png"], mask, image, answer(), rgb_description(), tmp_path)
    assert (np.asarray(Pillow.open(output.path)) == colour(0)).all(axis=2).sum() > 300
    with pytest.raises(Refusal) as caught:
        write_outputs(["report", "stl"], mask, image, answer(), rgb_description(), tmp_path)
    assert caught.value.code is Code.OUTPUT_IMPOSSIBLE
    assert not (tmp_path / "segmentation.json").exists()


def test_colours_differ_in_lightness_or_hue_for_everybody() -> None:
    assert len(set(PALETTE)) == 7


def test_probabilities_are_named_and_turned_back(tmp_path: Path) -> None:
    mask, image = case(tmp_path, Reader.SIMPLE_ITK_REORIENT)
    values = np.random.default_rng(0).random((3, *image.shape)).astype(np.float16)
    (output,) = write_outputs(
        ["probabilities"], mask, image, answer(), description(), tmp_path, probabilities=values
    )
    with np.load(output.path) as content:
        assert content["classes"].tolist() == ["background", "organ", "lesion"]
        assert content["probabilities"].dtype == np.float16
        assert np.array_equal(content["probabilities"][1], own_grid(values[1], image.geometry)[0])
    with pytest.raises(Refusal) as caught:
        write_outputs(["probabilities"], mask, image, answer(), description(), tmp_path)
    assert caught.value.code is Code.OUTPUT_IMPOSSIBLE


def test_a_suppressed_mask_cannot_be_read_off_the_probabilities(tmp_path: Path) -> None:
    mask, image = case(tmp_path)
    values = np.ones((3, *image.shape), np.float16)
    stated = answer().model_copy(update={"policy": Policy(applied=(OOD_SUPPRESSED,))})
    kinds = ["probabilities", "nrrd"]
    outputs = write_outputs(
        kinds, np.zeros_like(mask), image, stated, description(), tmp_path, probabilities=values
    )
    assert [output.kind for output in outputs] == [OutputKind.NRRD]


def test_unknown_kinds_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    mask, image = case(tmp_path)
    with pytest.raises(Refusal) as caught:
        write_outputs(["report", "docx"], mask, image, answer(), description(), tmp_path)
    assert caught.value.code is Code.OUTPUT_UNKNOWN
    assert set(caught.value.expected) == {kind.value for kind in OutputKind}
