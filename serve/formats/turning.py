"""Turning a grid to another orientation and back: axes are exchanged and reversed, no voxel is changed.

An orientation is three letters, of x, y and z: towards where in the patient the axis runs (L or R, P or A,
S or I). ``LPS`` is ITK's identity, ``RAS`` that of NIfTI.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Geometry

_WORLD_AXIS = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])


def is_orientation(code: str) -> bool:
    """Whether three letters name each direction of the patient once.

    Example:
        >>> is_orientation("RAS"), is_orientation("RAL"), is_orientation("ras")
        (True, False, False)
    """
    return len(code) == 3 and sorted(_WORLD_AXIS.get(letter, 3) for letter in code) == [0, 1, 2]


def orientation_of(geometry: Geometry) -> str:
    """Orientation that comes closest to a volume's axes.

    Example:
        >>> from nnunet_losses.serve.image import Geometry
        >>> orientation_of(Geometry(3, (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))
        'LPS'
    """
    return str(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(geometry.direction))


@dataclass(frozen=True)
class Turn:
    """Which old axis (x first) becomes each new one, and whether it is reversed.

    Example:
        >>> turn = Turn.between("LPS", "RSP")
        >>> turn.axes, turn.reversed
        ((0, 2, 1), (True, False, False))
        >>> turn.voxels(turn.inverse().voxels(np.arange(6).reshape(1, 2, 3))).ravel().tolist()
        [0, 1, 2, 3, 4, 5]
    """

    axes: tuple[int, ...]
    reversed: tuple[bool, ...]

    @classmethod
    def between(cls, had: str, wanted: str) -> Turn:
        """Turn a grid of one orientation to another one."""
        old = [_WORLD_AXIS[letter] for letter in had]
        axes = tuple(old.index(_WORLD_AXIS[letter]) for letter in wanted)
        return cls(axes, tuple(had[axis] != letter for axis, letter in zip(axes, wanted, strict=True)))

    def inverse(self) -> Turn:
        """Turn back."""
        back = tuple(self.axes.index(axis) for axis in range(3))
        return Turn(back, tuple(self.reversed[axis] for axis in back))

    def voxels(self, array: NDArray[Any]) -> NDArray[Any]:
        """Turn an array (..., z, y, x); a view."""
        last = array.ndim - 1
        order = [*range(array.ndim - 3), *(last - axis for axis in reversed(self.axes))]
        backwards = tuple(last - axis for axis, flip in enumerate(self.reversed) if flip)
        turned: NDArray[Any] = np.flip(array.transpose(order), backwards)
        return turned

    def geometry(self, geometry: Geometry, size: Sequence[int]) -> Geometry:
        """Turn the geometry of a volume of that size (x first)."""
        matrix = np.array(geometry.direction).reshape(3, 3)
        origin = np.array(geometry.origin)
        signs = np.where(self.reversed, -1.0, 1.0)
        for axis, flip in zip(self.axes, self.reversed, strict=True):
            if flip:
                origin = origin + matrix[:, axis] * geometry.spacing[axis] * (size[axis] - 1)
        return replace(
            geometry,
            spacing=tuple(geometry.spacing[axis] for axis in self.axes),
            origin=tuple(origin.tolist()),
            direction=tuple((matrix[:, list(self.axes)] * signs).ravel().tolist()),
        )


def own_grid(array: NDArray[Any], geometry: Geometry) -> tuple[NDArray[Any], Geometry]:
    """Turn an array of an image's grid (..., z, y, x) back to the grid of its file, and give that geometry.

    Images of readers that turn nothing stay what they are.
    """
    had = _orientation_in_file(geometry)
    now = geometry.turned_to or (_nearest(geometry) if geometry.affine else None)
    if had is None or geometry.dimension == 2:
        return array, geometry
    turn = Turn.between(now or orientation_of(geometry), had)
    plain = replace(geometry, orientation=None, turned_to=None, affine=None)
    return turn.voxels(array), turn.geometry(plain, array.shape[:-4:-1])


def _orientation_in_file(geometry: Geometry) -> str | None:
    if geometry.affine is None:
        return geometry.orientation
    return "".join(nibabel.aff2axcodes(np.array(geometry.affine).reshape(4, 4)))


def _nearest(geometry: Geometry) -> str:
    """Orientation as NiBabel sees it, where NiBabel turned the volume."""
    affine = np.eye(4)
    steps = np.array(geometry.direction).reshape(3, 3) * np.array(geometry.spacing)
    affine[:3, :3] = LPS_FROM_RAS @ steps
    return "".join(nibabel.aff2axcodes(affine))
