"""NIfTI volumes as nnU-Net's NibabelIO and NibabelIOWithReorient read them, checked before decoding."""

from __future__ import annotations

import logging
import math
from itertools import product
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import io_orientation
from nibabel.spatialimages import HeaderDataError

from nnunet_losses.serve.image import Geometry

from .integrity import Hash, check_exists, check_whole
from .layout import Notes, check_spacing, corrupt, times, unsupported
from .nifti import SPACING_TOLERANCE, Library
from .volume import Decoded, announced_layout

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .limits import Limits

ENDINGS = (".nii.gz", ".nii")
LPS_FROM_RAS = (-1.0, -1.0, 1.0)
FLATTEST = 1e-4  # volume of the box of unit axes: 1 at right angles, 0 where two axes coincide
POSITION_TOLERANCE = 0.5  # voxels by which the header's two positions may differ without a warning


def read_nibabel(path: Path, *, ending: str, limits: Limits, digest: Hash, reorient: bool = False) -> Decoded:
    """Check a NIfTI file to its last byte, then decode it.

    Args:
        path: the file.
        ending: which of ``ENDINGS`` its name has.
        limits: budgets for sizes.
        digest: receives the file's bytes.
        reorient: turn the volume to RAS, as NibabelIOWithReorient does; the geometry turns with it.

    Raises:
        Refusal: with an ``input.*`` code for everything that is not a whole, real, scalar image of three
            dimensions with finite positive spacing and an invertible position in space.
    """
    check_exists(path, limits)
    layout = announced_layout(path, ending, Library.NIBABEL)
    whole = check_whole(path, layout, limits=limits, digest=digest)
    stored = _open(path)
    _check_affine(path.name, stored.affine)
    turned = stored.as_reoriented(io_orientation(stored.affine)) if reorient else stored
    spacing = tuple(float(zoom) for zoom in turned.header.get_zooms())
    check_spacing(path.name, spacing)
    warnings = (*layout.warnings, *whole.warnings, *_contradictions(path.name, stored, turned))
    z, y, x = spacing[::-1]
    return Decoded(_voxels(turned), (z, y, x), _geometry(turned, stored, spacing), warnings)


def _open(path: Path) -> Any:
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # we say ourselves what matters
    try:
        return nibabel.load(path)
    except (HeaderDataError, ImageFileError, ValueError, EOFError, OSError) as error:
        # its message may name the file's path
        raise corrupt(path.name, "its header cannot be understood.", observed=type(error).__name__) from error


def _check_affine(name: str, affine: NDArray[np.float64]) -> None:
    if not np.isfinite(affine).all():
        raise corrupt(name, "its position in space is not finite.", observed=[repr(v) for v in affine.flat])
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if min(steps) == 0 or abs(np.linalg.det(affine[:3, :3] / steps)) < FLATTEST:
        raise corrupt(
            name,
            "its position in space squeezes the volume flat: the affine matrix cannot be inverted.",
            observed=affine[:3].tolist(),
            expected="three axes in different directions",
        )


def _voxels(image: Any) -> NDArray[np.float32]:
    """float32 (1, z, y, x), by way of float64 as in nnU-Net; what does not fit becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        voxels: NDArray[np.float32] = image.get_fdata(caching="unchanged").astype(np.float32)
    return voxels.transpose(2, 1, 0)[None]


def _geometry(turned: Any, stored: Any, spacing: tuple[float, ...]) -> Geometry:
    matrix = np.diag(LPS_FROM_RAS) @ turned.affine[:3]
    axes = matrix[:, :3] / np.linalg.norm(matrix[:, :3], axis=0)
    origin, direction = tuple(matrix[:, 3].tolist()), tuple(axes.ravel().tolist())
    return Geometry(3, spacing, origin, direction, affine=tuple(stored.affine.ravel().tolist()))


def _contradictions(name: str, stored: Any, turned: Any) -> Notes:
    """Compare the places where a header can say how large the voxels are, and where they lie."""
    header = stored.header
    sform, qform = header.get_sform(coded=True)[0], _qform(name, header)
    notes: list[tuple[str, str]] = []
    spacing = tuple(float(zoom) for zoom in header.get_zooms())
    steps = tuple(np.linalg.norm(stored.affine[:3, :3], axis=0).tolist())
    pairs = zip(spacing, steps, strict=True)
    if sform is not None and not all(math.isclose(*pair, rel_tol=SPACING_TOLERANCE) for pair in pairs):
        winner = "spacing" if turned is stored else "position"
        sentence = (
            f"{name} contradicts itself: its voxels are {times(spacing)} mm large by its spacing, but "
            f"{times(steps)} mm by its position in space; the {winner} was used, as nnU-Net does."
        )
        notes.append(("input.spacing_contradictory", sentence))
    if sform is not None and qform is not None:
        apart = _displacement(sform, qform, stored.shape) / min(steps)
        if apart > POSITION_TOLERANCE:
            sentence = (
                f"{name} contradicts itself: its two positions in space (sform and qform) lie up to "
                f"{apart:.3g} voxels apart; the sform was used, as nnU-Net does."
            )
            notes.append(("input.position_contradictory", sentence))
    return tuple(notes)


def _qform(name: str, header: Any) -> NDArray[np.float64] | None:
    try:
        qform: NDArray[np.float64] | None = header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):  # an impossible quaternion, beside an sform that is used
        raise unsupported(
            name,
            "has a position in space (qform) that is no rotation.",
            remedy="Save it again with a valid qform, or with the qform's code set to 0.",
        ) from None
    return qform


def _displacement(one: NDArray[np.float64], two: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Largest distance in millimetres between corresponding corners."""
    corners = np.array([(*corner, 1) for corner in product(*((0, size - 1) for size in shape))], float)
    return float(np.linalg.norm(corners @ (one - two).T, axis=1).max())
