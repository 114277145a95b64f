"""How the training images lay, as far as they are at hand: a DICOM series is turned to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk  # noqa: N813 - the name that everybody uses

from nnunet_losses.serve.formats.turning import orientation_of
from nnunet_losses.serve.image import Geometry

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_FILES = 200
_FOLDERS = (("nnUNet_raw", "labelsTr"), ("nnUNet_preprocessed", "gt_segmentations"))


def training_orientation(dataset: str, ending: str) -> str | None:
    """Find the orientation that all training images have.

    nnU-Net's folders are looked into where their environment variables are set: the labels of the raw data,
    or their copies in the preprocessed ones. Headers only are read.

    Args:
        dataset: its name, such as ``Dataset004_Hippocampus``.
        ending: of its files.

    Returns:
        Three letters, or None where there are no such files, or they lie in different ways.

    Example:
        >>> training_orientation("Dataset000_Absent", ".nii.gz") is None
        True
    """
    for folder in _folders(dataset):
        files = sorted(folder.glob(f"*{ending}"))[:MOST_FILES] if folder.is_dir() else []
        found = {_orientation(file) for file in files}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _folders(dataset: str) -> Iterator[Path]:
    for variable, folder in _FOLDERS:
        if os.environ.get(variable):
            yield Path(os.environ[variable]) / dataset / folder


def _orientation(file: Path) -> str | None:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # pictures, or a damaged file: nothing is known then
        return None
    if reader.GetDimension() != 3:
        return None
    return orientation_of(Geometry(3, reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection()))
