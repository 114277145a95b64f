"""Which files an answer can be given as."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from nnunet_losses.serve.policies import EmptySeg as EmptySeg  # noqa: PLC0414 - one of the options here

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class OutputKind(StrEnum):
    """Formats by the names under which they are asked for."""

    MASK = "mask"  # as nnU-Net writes it, byte for byte
    NIFTI = "nifti"
    NRRD = "nrrd"
    MHA = "mha"
    SEG = "seg"
    RTSTRUCT = "rtstruct"
    STL = "stl"
    GLB = "glb"
    PNG = "png"
    PROBABILITIES = "probabilities"
    REPORT = "report"


ENDINGS: Mapping[OutputKind, str] = {
    OutputKind.NIFTI: ".nii.gz",
    OutputKind.NRRD: ".nrrd",
    OutputKind.MHA: ".mha",
    OutputKind.SEG: ".seg.dcm",
    OutputKind.RTSTRUCT: ".rtstruct.dcm",
    OutputKind.STL: ".stl",
    OutputKind.GLB: ".glb",
    OutputKind.PNG: ".overlay.png",
    OutputKind.PROBABILITIES: ".npz",
    OutputKind.REPORT: ".json",
}
_MEDIA_TYPES = {
    ".gz": "application/gzip",
    ".nii": "application/octet-stream",
    ".nrrd": "application/octet-stream",
    ".mha": "application/octet-stream",
    ".dcm": "application/dicom",
    ".stl": "model/stl",
    ".glb": "model/gltf-binary",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
    ".npz": "application/x-npz",
    ".json": "application/json",
}


@dataclass(frozen=True)
class Output:
    """A file that was written.

    Attributes:
        kind: what was asked for.
        name: among the outputs of one answer; the ending is the file's.
        path: where it lies.
        media_type: for HTTP.
    """

    kind: OutputKind
    name: str
    path: Path
    media_type: str


@dataclass(frozen=True)
class Options:
    """How outputs are written.

    Attributes:
        stem: their names without ending.
        empty_seg: whether a SEG or RTSTRUCT in which nothing is marked is written.
        identity: of the answer; DICOM objects written again for the same one have the same UIDs. None: new
            ones each time.
    """

    stem: str = "segmentation"
    empty_seg: EmptySeg = EmptySeg.EMIT
    identity: str | None = None


def media_type_of(name: str) -> str:
    """Media type by a file name's last ending.

    Example:
        >>> media_type_of("mask.nii.gz"), media_type_of("lung.seg.dcm")
        ('application/gzip', 'application/dicom')
    """
    return _MEDIA_TYPES.get(name[name.rfind(".") :].lower(), "application/octet-stream")
