"""GIPL (.gipl) headers: 256 bytes, big-endian. Layout as ITK's GiplImageIO reads and writes it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .layout import Codec, Layout, check_sizes, check_spacing, truncated, unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_BYTES = 256
MAGIC = (719555000, 4026526128)
TYPE_BYTES: Mapping[int, int] = {1: 1, 7: 1, 8: 1, 15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8}
FIELDS = struct.Struct(">4HH4f")  # sizes, type, spacing


def parse_gipl(name: str, head: bytes) -> Layout:
    """Read the header of a GIPL file.

    Args:
        name: the file's base name, for messages.
        head: the first 256 bytes or more.

    Raises:
        Refusal: for another kind of file, and for contradictions.
    """
    if len(head) < HEADER_BYTES:
        raise truncated(name, len(head), HEADER_BYTES)
    if struct.unpack_from(">I", head, HEADER_BYTES - 4)[0] not in MAGIC:
        raise unsupported(
            name,
            "is not a GIPL file, although its name says so.",
            remedy="Send the image itself, under a name that says what it is.",
        )
    values = FIELDS.unpack_from(head)
    sizes, kind, spacing = values[:4], values[4], values[5:]
    if sizes[3] in (0, 1):
        sizes = sizes[:3]
    check_sizes(name, sizes)
    check_spacing(name, spacing[: len(sizes)])
    return Layout(
        sizes=sizes,
        voxel_bytes=_voxel_bytes(name, kind),
        codec=Codec.NONE,
        packed_at=0,
        voxels_at=HEADER_BYTES,
    )


def _voxel_bytes(name: str, kind: int) -> int:
    if kind not in TYPE_BYTES:
        raise unsupported(
            name,
            f"holds voxels of an unknown type ({kind}).",
            remedy="Save it with one real number for each voxel.",
            observed=kind,
            expected=sorted(TYPE_BYTES),
        )
    return TYPE_BYTES[kind]
