"""Closed surfaces of labels, in the patient's millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal

from .installed import import_library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Geometry

    from .answered import Answered


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles around a label.

    Attributes:
        index: position of the label in the model.
        name: of the label.
        vertices: (n, 3) float32, LPS millimetres.
        triangles: (m, 3) uint32, counter-clockwise seen from outside.
    """

    index: int
    name: str
    vertices: NDArray[np.float32]
    triangles: NDArray[np.uint32]


def surfaces(answered: Answered) -> Iterator[Surface]:
    """Surfaces of the labels that are there, by marching cubes through the middle between voxels.

    Raises:
        Refusal: the image is a picture (``output.impossible``), or zmesh is not installed.
    """
    if answered.image.geometry.dimension == 2:
        raise Refusal(
            Code.OUTPUT_IMPOSSIBLE,
            "A picture has no surface.",
            remedy="Ask for a mask or an overlay.",
        )
    zmesh = import_library("zmesh", "mesh")
    _, geometry = answered.own
    for index, label, inside in answered.labels():
        if inside.any():
            yield Surface(index, label.name, *_meshed(zmesh, inside, geometry))


def _meshed(
    zmesh: Any, inside: NDArray[np.bool_], geometry: Geometry
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    box = _box(inside)
    around = np.pad(inside[box], 1)  # closes surfaces at the image's border
    voxels = np.asfortranarray(around.transpose(2, 1, 0).astype(np.uint8))  # x first
    mesher = zmesh.Mesher((1.0, 1.0, 1.0))
    mesher.mesh(voxels)
    mesh = mesher.get(1, normals=False, reduction_factor=0)
    begin = np.array([axis.start - 1 for axis in box[::-1]], float)
    placed = _placed(mesh.vertices.astype(float) + begin, geometry)
    triangles = mesh.faces.astype(np.uint32)
    if enclosed_volume(placed, triangles) < 0:
        triangles = np.ascontiguousarray(triangles[:, ::-1])
    return placed.astype(np.float32), triangles


def _box(inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Smallest box around a label."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(inside.any(axis=others))
        box.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(box)


def _placed(indices: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    axes = np.array(geometry.direction).reshape(3, 3) * np.array(geometry.spacing)
    placed: NDArray[np.float64] = indices @ axes.T + np.array(geometry.origin)
    return placed


def enclosed_volume(vertices: NDArray[Any], triangles: NDArray[np.uint32]) -> float:
    """Volume within closed triangles; negative where they are clockwise seen from outside.

    Example:
        >>> corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
        >>> faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.uint32)
        >>> round(enclosed_volume(corners, faces), 4)
        0.1667
    """
    centred = vertices - vertices.mean(axis=0)
    a, b, c = (centred[triangles[:, corner]] for corner in range(3))
    return float((a * np.cross(b, c)).sum() / 6)
