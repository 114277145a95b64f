"""An image as the pipeline sees it, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """Where the voxels lie, in SimpleITK's convention (x first, LPS millimetres).

    Pictures without a physical space (PNG) have spacing 1, origin 0 and the identity direction.

    Readers that turn the image to a standard orientation describe the turned image; the file's own
    orientation, which its mask gets back, is in ``affine`` or ``orientation``.
    """

    dimension: int  # of the file: 2 or 3
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    affine: tuple[float, ...] | None = None  # the file's own, row by row, where NiBabel reads it
    orientation: str | None = None  # the file's own in three letters, where it was turned
    turned_to: str | None = None  # of a DICOM series: the orientation that it was turned to


@dataclass(frozen=True, eq=False)
class Series:
    """What a DICOM series says of itself, for the SEG and RTSTRUCT objects that refer to it.

    Both are in the DICOM JSON model (PS3.18, F.2), by tag: ``common`` what all slices share (patient, study,
    series, frame of reference, grid), ``instances`` each slice's own (SOP instance, position), in the order
    of the series' own grid. It holds the patient's name: never to be logged, nor to be shown.
    """

    common: dict[str, Any] = field(repr=False)
    instances: tuple[dict[str, Any], ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Image:
    """Voxels and spacing exactly as nnU-Net's reader returns them.

    ``data`` is float32 (channels, z, y, x), in two dimensions (channels, 1, y, x). ``spacing`` is in array
    order (z, y, x); two-dimensional files get nnU-Net's large first entry.
    """

    data: NDArray[np.float32]
    spacing: tuple[float, float, float]
    geometry: Geometry
    sha256: str  # of the input files' bytes, in channel order
    warnings: tuple[tuple[str, str], ...] = field(default=())  # (code, sentence) of everything repaired
    series: Series | None = None  # of the first channel, where it came as DICOM

    @property
    def shape(self) -> tuple[int, int, int]:
        """Spatial shape (z, y, x)."""
        z, y, x = self.data.shape[1:]
        return z, y, x
