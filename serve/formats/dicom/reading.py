"""A DICOM series to one volume, turned to how the model's training images lay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.formats.turning import Turn, orientation_of
from nnunet_losses.serve.formats.volume import Decoded

from .files import MAGIC, MAGIC_AT, ZIP_START, is_dicom, opened
from .grid import regular_grid
from .headers import read_headers
from .pixels import check_grey, check_syntaxes, is_lossy, stored_values
from .reference import series_of
from .slices import slices_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.formats.integrity import Hash
    from nnunet_losses.serve.formats.layout import Notes
    from nnunet_losses.serve.formats.limits import Limits

    from .files import Files
    from .grid import Grid
    from .headers import Headers

ENDINGS = (".zip", ".dcm")
ASSUMED = "LPS"  # axial slices as they are taken, and as SimpleITK reads them
MOST_LOOKED_AT = 1000  # files of a folder, for the first DICOM file


def read_series(path: Path, *, orientation: str | None, limits: Limits, digest: Hash) -> Decoded:
    """Check a series, then decode it.

    All headers are read and compared before any pixel is decoded.

    Args:
        path: a folder, a zip file of one, or a multi-frame file.
        orientation: to which to turn the volume (``RAS`` and so on); None takes ``ASSUMED``, with a warning.
        limits: budgets for sizes.
        digest: receives the files' bytes.

    Raises:
        Refusal: ``series.*`` and ``input.*``, for all but one regular volume of whole grey images.
    """
    with opened(path, limits=limits, digest=digest) as files:
        headers = read_headers(path.name, files)
        check_syntaxes(path.name, headers.images)
        slices = slices_of(path.name, headers.images)
        check_grey(path.name, slices)
        grid = regular_grid(path.name, slices)
        voxels = _voxels(path.name, grid, files, limits)
    had = orientation_of(grid.geometry)
    turn = Turn.between(had, orientation or ASSUMED)
    placed = turn.geometry(grid.geometry, voxels.shape[::-1])
    x, y, z = placed.spacing
    return Decoded(
        data=turn.voxels(voxels)[None],
        spacing=(z, y, x),
        geometry=replace(placed, orientation=had, turned_to=orientation or ASSUMED),
        warnings=(*grid.warnings, *_remarks(path.name, headers, orientation, had)),
        series=series_of(grid.slices),
    )


def _voxels(name: str, grid: Grid, files: Files, limits: Limits) -> NDArray[np.float32]:
    """Rescaled values (z, y, x) on the series' own grid."""
    columns, rows = grid.slices[0].size
    shape = (len(grid.slices), rows, columns)
    limits.check_decoded(name, 4 * int(np.prod(shape, dtype=np.int64)))
    voxels = np.empty(shape, np.float32)
    for target, one, values in zip(voxels, grid.slices, stored_values(name, grid.slices, files), strict=True):
        slope, intercept = one.rescale or (1.0, 0.0)
        np.copyto(target, values * slope + intercept, casting="same_kind")
    return voxels


def _remarks(name: str, headers: Headers, orientation: str | None, had: str) -> Notes:
    found: list[tuple[str, str]] = []
    if headers.objects + headers.others:
        sentence = (
            f"{name} holds {headers.objects + headers.others} files that are no images; they were ignored."
        )
        found.append(("series.other_files", sentence))
    if is_lossy(headers.images):
        found.append(("series.lossy", f"{name} was compressed with loss; its values are not the scanner's."))
    if orientation is None:
        sentence = (
            f"The bundle does not say how its training images lay; {name} ({had}) was turned to {ASSUMED}. "
            "If they lay otherwise, the mask may be wrong."
        )
        found.append(("series.orientation_assumed", sentence))
    return tuple(found)


def may_be_series(path: Path) -> bool:
    """Whether a path is a folder with DICOM files in it, or a file of a kind that may hold a series."""
    if not path.is_dir():
        return path.name.lower().endswith(ENDINGS)
    return any(file.is_file() and _is_dicom_file(file) for file in sorted(path.rglob("*"))[:MOST_LOOKED_AT])


def _is_dicom_file(path: Path) -> bool:
    with path.open("rb") as file:
        return is_dicom(file.read(MAGIC_AT + len(MAGIC)))


def series_ending(file: Path, endings: Sequence[str]) -> str | None:
    """Which of the endings a file should have by its first bytes, where these are DICOM's or a zip file's."""
    with file.open("rb") as opened_file:
        head = opened_file.read(MAGIC_AT + len(MAGIC))
    found = ".dcm" if is_dicom(head) else ".zip" if head.startswith(ZIP_START) else None
    return found if found in endings else None
