"""Media types of the files that are written."""

from __future__ import annotations

_BY_ENDING = {
    ".gz": "application/gzip",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
}


def media_type(filename: str) -> str:
    """Media type of a mask's file, by its ending.

    Example:
        >>> media_type("mask.nii.gz"), media_type("mask.png"), media_type("mask.nrrd")
        ('application/gzip', 'image/png', 'application/octet-stream')
    """
    ending = filename[filename.rfind(".") :].lower()
    return _BY_ENDING.get(ending, "application/octet-stream")
