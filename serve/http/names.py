"""Names under which browsers keep what they download. None of a client's words is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_losses.serve.jobs.records import Artifact

_STEMS = {"png": "overlay"} | dict.fromkeys(("nifti", "nrrd", "mha", "glb", "stl"), "segmentation")


def download_name(artifact: Artifact) -> str:
    """Call an artifact after what it is, with its file's ending.

    Example:
        >>> from types import SimpleNamespace
        >>> def file(name, file):
        ...     return SimpleNamespace(name=name, file=file)
        >>> download_name(file("png", "0a1b.png")), download_name(file("mask", "0a1b.nii.gz"))
        ('overlay.png', 'mask.nii.gz')
        >>> download_name(file("stl-label_1", "0a1b.stl")), download_name(file("0000", "0a1b"))
        ('label_1.stl', '0000')
    """
    stem = _STEMS.get(artifact.name, artifact.name.removeprefix("stl-"))
    _, dot, ending = artifact.file.partition(".")
    return f"{stem}{dot}{ending}"
