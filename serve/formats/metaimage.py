"""MetaImage (.mha) headers.

https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .layout import Codec, Layout, check_sizes, check_spacing, corrupt, unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

ELEMENT_BYTES: Mapping[str, int] = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG": 4,
    "MET_ULONG": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}
DATA_FILE = b"ElementDataFile"


def parse_metaimage(name: str, head: bytes) -> Layout:
    """Read the text header of a MetaImage that holds its voxels itself.

    Args:
        name: the file's base name, for messages.
        head: the beginning of the file, with the whole header.

    Raises:
        Refusal: for another file's voxels, text voxels, several values for each voxel, and contradictions.
    """
    fields, begin = _fields(name, head)
    _check_self_contained(name, fields)
    sizes = tuple(_integers(name, fields, "DimSize"))
    check_sizes(name, sizes)
    spacing = fields.get("ElementSpacing", fields.get("ElementSize"))
    if spacing is not None:
        check_spacing(name, _floats(name, spacing))
    compressed = fields.get("CompressedData", "False").lower().startswith("t")
    return Layout(
        sizes=sizes,
        voxel_bytes=_voxel_bytes(name, fields),
        codec=Codec.DEFLATE if compressed else Codec.NONE,
        packed_at=begin if compressed else 0,
        voxels_at=0 if compressed else begin,
        warnings=() if spacing is not None else (spacing_missing(name),),
    )


def spacing_missing(name: str) -> tuple[str, str]:
    """Warn of a volume without a voxel spacing: ITK takes 1."""
    return ("input.spacing_missing", f"{name} does not say how large its voxels are; 1 mm was assumed.")


def _fields(name: str, head: bytes) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    position = 0
    while (end := head.find(b"\n", position)) >= 0:
        key, equals, value = head[position:end].partition(b"=")
        position = end + 1
        if not equals:
            break
        fields[key.strip().decode("latin-1")] = value.strip().decode("latin-1")
        if key.strip() == DATA_FILE:
            return fields, position
    raise unsupported(
        name,
        "is not a MetaImage file, although its name says so.",
        remedy="Send the image itself, under a name that says what it is.",
        expected="a text header that ends in ElementDataFile",
    )


def _check_self_contained(name: str, fields: Mapping[str, str]) -> None:
    if fields[DATA_FILE.decode()].upper() != "LOCAL":
        raise unsupported(
            name,
            "keeps its voxels in another file.",
            remedy="Save header and voxels together as .mha.",
            expected="ElementDataFile = LOCAL",
        )
    if fields.get("BinaryData", "True").lower().startswith("f") or fields.get("HeaderSize", "0") not in (
        "0",
        "-1",
    ):
        raise unsupported(
            name,
            "stores its voxels as text, or at an unusual place.",
            remedy="Save it as binary .mha or as .nii.gz.",
        )


def _voxel_bytes(name: str, fields: Mapping[str, str]) -> int:
    element = fields.get("ElementType", "")
    if element not in ELEMENT_BYTES or fields.get("ElementNumberOfChannels", "1") != "1":
        raise unsupported(
            name,
            "does not hold one number for each voxel.",
            remedy="Save one file with one number for each voxel for every channel.",
            observed={"type": element, "values": fields.get("ElementNumberOfChannels", "1")},
            expected="one real number for each voxel",
        )
    return ELEMENT_BYTES[element]


def _integers(name: str, fields: Mapping[str, str], key: str) -> list[int]:
    try:
        return [int(value) for value in fields.get(key, "").split()]
    except ValueError as error:
        raise corrupt(name, f"{key} is not a list of numbers.", observed=fields.get(key)) from error


def _floats(name: str, text: str) -> list[float]:
    try:
        return [float(value) for value in text.split()]
    except ValueError as error:
        raise corrupt(name, "its voxel spacing is not a list of numbers.", observed=text) from error
