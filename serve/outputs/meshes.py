"""Surfaces to files: STL for each label, or one GLB for all.

STL: https://en.wikipedia.org/wiki/STL_(file_format), GLB: glTF 2.0, section 4.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.formats.writing import replacing

from .colours import colour
from .kinds import ENDINGS, OutputKind
from .surfaces import surfaces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .answered import Answered
    from .surfaces import Surface

STL_HEADER = b"SPACE=LPS UNIT=mm nnunet-losses"  # SPACE= as 3D Slicer writes and reads it
STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
# LPS millimetres to glTF's metres with +Y up and +Z forward: L to X, S to Y, A to Z; by column
GLTF_MATRIX = (0.001, 0, 0, 0, 0, 0, -0.001, 0, 0, 0.001, 0, 0, 0, 0, 0, 1)
FLOAT, UNSIGNED_INT = 5126, 5125
VERTICES, INDICES = 34962, 34963


def write_stl(answered: Answered) -> Sequence[Path]:
    """Write one binary STL for each label that is there, in LPS millimetres.

    Raises:
        Refusal: see ``surfaces``.
    """
    paths = []
    for surface in surfaces(answered):
        path = answered.path(f".label_{answered.description.labels[surface.index].value}.stl")
        with replacing(path) as temporary:
            temporary.write_bytes(_stl(surface))
        paths.append(path)
    return paths


def _stl(surface: Surface) -> bytes:
    corners = surface.vertices[surface.triangles]
    records = np.zeros(len(corners), STL_TRIANGLE)
    records["corners"] = corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    return STL_HEADER.ljust(80) + struct.pack("<I", len(records)) + records.tobytes()


def write_glb(answered: Answered) -> Sequence[Path]:
    """Write all labels as one binary glTF. Vertices are LPS millimetres; a node's matrix makes them metres.

    Raises:
        Refusal: see ``surfaces``.
    """
    path = answered.path(ENDINGS[OutputKind.GLB])
    with replacing(path) as temporary:
        temporary.write_bytes(_glb(list(surfaces(answered))))
    return [path]


def _glb(found: Sequence[Surface]) -> bytes:
    blobs = [blob for surface in found for blob in _blobs(surface)]
    binary = b"".join(blobs)
    content = json.dumps(_scene(found, [len(blob) for blob in blobs])).encode()
    chunks = _chunk(b"JSON", content, b" ") + (_chunk(b"BIN\0", binary, b"\0") if binary else b"")
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _blobs(surface: Surface) -> tuple[bytes, bytes]:
    return surface.vertices.astype("<f4").tobytes(), surface.triangles.astype("<u4").tobytes()


def _chunk(kind: bytes, content: bytes, filler: bytes) -> bytes:
    content += filler * (-len(content) % 4)
    return struct.pack("<I4s", len(content), kind) + content


def _scene(found: Sequence[Surface], lengths: Sequence[int]) -> dict[str, Any]:
    asset = {"version": "2.0", "generator": "nnunet-losses", "extras": {"space": "LPS", "unit": "mm"}}
    if not found:
        return {"asset": asset, "scene": 0, "scenes": [{"name": "nothing marked"}]}
    begins = np.concatenate([[0], np.cumsum(lengths)[:-1]]).tolist()
    views = [
        {"buffer": 0, "byteOffset": begin, "byteLength": length, "target": (VERTICES, INDICES)[number % 2]}
        for number, (begin, length) in enumerate(zip(begins, lengths, strict=True))
    ]
    children = [{"mesh": number, "name": surface.name} for number, surface in enumerate(found)]
    root = {"name": "LPS millimetres", "matrix": GLTF_MATRIX, "children": list(range(1, len(found) + 1))}
    return {
        "asset": asset,
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [root, *children],
        "meshes": [_mesh(number, surface) for number, surface in enumerate(found)],
        "materials": [_material(surface) for surface in found],
        "accessors": [part for number, surface in enumerate(found) for part in _accessors(number, surface)],
        "bufferViews": views,
        "buffers": [{"byteLength": sum(lengths)}],
    }


def _mesh(number: int, surface: Surface) -> dict[str, Any]:
    primitive = {"attributes": {"POSITION": 2 * number}, "indices": 2 * number + 1, "material": number}
    return {"name": surface.name, "primitives": [primitive]}


def _material(surface: Surface) -> dict[str, Any]:
    linear = [(value / 255) ** 2.2 for value in colour(surface.index)]
    rough = {"baseColorFactor": [*linear, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
    return {"name": surface.name, "pbrMetallicRoughness": rough}


def _accessors(number: int, surface: Surface) -> tuple[dict[str, Any], dict[str, Any]]:
    points = {
        "bufferView": 2 * number,
        "componentType": FLOAT,
        "count": len(surface.vertices),
        "type": "VEC3",
        "min": surface.vertices.min(axis=0).tolist(),
        "max": surface.vertices.max(axis=0).tolist(),
    }
    indices = {
        "bufferView": 2 * number + 1,
        "componentType": UNSIGNED_INT,
        "count": surface.triangles.size,
        "type": "SCALAR",
    }
    return points, indices
