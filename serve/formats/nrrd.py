"""NRRD headers.

https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from .layout import Codec, Layout, check_sizes, check_spacing, corrupt, unsupported
from .metaimage import spacing_missing

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNS = ("", "u", "signed ", "unsigned ")
_INTEGERS = {
    1: ("char", "int8", "int8_t"),
    2: ("short", "short int", "int16", "int16_t"),
    4: ("int", "int32", "int32_t"),
    8: ("long long", "long long int", "longlong", "int64", "int64_t"),
}
# name of a type -> bytes of a voxel
TYPE_BYTES: Mapping[str, int] = {
    **{f"{sign}{name}": size for size, names in _INTEGERS.items() for name in names for sign in SIGNS},
    "float": 4,
    "double": 8,
}
CODECS: Mapping[str, Codec] = {
    "raw": Codec.NONE,
    "gzip": Codec.DEFLATE,
    "gz": Codec.DEFLATE,
    "bzip2": Codec.BZIP2,
    "bz2": Codec.BZIP2,
}
BLANK_LINE = re.compile(rb"\r?\n\r?\n")


def parse_nrrd(name: str, head: bytes) -> Layout:
    """Read the text header of an NRRD file that holds its voxels itself.

    Args:
        name: the file's base name, for messages.
        head: the beginning of the file, with the whole header.

    Raises:
        Refusal: for another file's voxels, text voxels, and contradictions.
    """
    fields, begin = _fields(name, head)
    _check_self_contained(name, fields)
    sizes = _sizes(name, fields)
    codec = _codec(name, fields)
    spacing = _spacing(name, fields)
    if spacing:
        check_spacing(name, spacing)
    packed = codec is not Codec.NONE
    return Layout(
        sizes=sizes,
        voxel_bytes=_voxel_bytes(name, fields),
        codec=codec,
        packed_at=begin if packed else 0,
        voxels_at=0 if packed else begin,
        warnings=() if spacing else (spacing_missing(name),),
    )


def _fields(name: str, head: bytes) -> tuple[dict[str, str], int]:
    end = BLANK_LINE.search(head)
    if not head.startswith(b"NRRD000") or end is None:
        raise unsupported(
            name,
            "is not an NRRD file, although its name says so.",
            remedy="Send the image itself, under a name that says what it is.",
            expected="a text header that begins with NRRD and ends in a blank line",
        )
    lines = head[: end.start()].decode("latin-1").splitlines()[1:]
    pairs = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
    return {key.strip().lower(): value.strip() for key, _, value in pairs}, end.end()


def _check_self_contained(name: str, fields: Mapping[str, str]) -> None:
    if "data file" in fields or "datafile" in fields:
        raise unsupported(
            name, "keeps its voxels in another file.", remedy="Save header and voxels together as .nrrd."
        )
    skips = [fields.get(key, "0") for key in ("line skip", "lineskip", "byte skip", "byteskip")]
    if any(skip != "0" for skip in skips):
        raise unsupported(
            name, "stores its voxels at an unusual place.", remedy="Save it again without skips."
        )


def _sizes(name: str, fields: Mapping[str, str]) -> tuple[int, ...]:
    try:
        sizes = tuple(int(value) for value in fields.get("sizes", "").split())
    except ValueError as error:
        raise corrupt(name, "its sizes are not numbers.", observed=fields.get("sizes")) from error
    check_sizes(name, sizes)
    if fields.get("dimension") != str(len(sizes)):
        raise corrupt(
            name,
            "its sizes contradict its dimension.",
            observed=list(sizes),
            expected=fields.get("dimension"),
        )
    return sizes


def _codec(name: str, fields: Mapping[str, str]) -> Codec:
    encoding = fields.get("encoding", "").lower()
    if encoding not in CODECS:
        raise unsupported(
            name,
            f"packs its voxels as {encoding or 'nothing known'}.",
            remedy="Save it with the encoding raw or gzip.",
            observed=encoding,
            expected=sorted(CODECS),
        )
    return CODECS[encoding]


def _voxel_bytes(name: str, fields: Mapping[str, str]) -> int:
    kind = fields.get("type", "").lower()
    if kind in TYPE_BYTES:
        return TYPE_BYTES[kind]
    raise unsupported(
        name,
        f"holds voxels of the type {kind or 'nothing known'}.",
        remedy="Save it with one whole or floating-point number for each voxel.",
        observed=kind,
        expected="one real number for each voxel",
    )


def _spacing(name: str, fields: Mapping[str, str]) -> list[float]:
    """Lengths of the axes' steps; empty where the header does not say."""
    try:
        if "space directions" in fields:
            vectors = re.findall(r"\(([^)]*)\)", fields["space directions"])
            return [math.hypot(*(float(part) for part in vector.split(","))) for vector in vectors]
        return [float(value) for value in fields.get("spacings", "").split()]
    except ValueError as error:
        raise corrupt(name, "its voxel spacing is not a list of numbers.") from error
