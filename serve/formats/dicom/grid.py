"""Whether slices make one regular volume, and which.

Positions count, projected on the normal of the slices; neither file names nor instance numbers, nor
SliceThickness (slices overlap, or leave gaps). ITK reads a series with a missing slice with a wrong spacing,
one with a double slice with another, and a tilted one without its tilt; each is refused here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.image import Geometry

from .headers import PER_SLICE_RESCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.formats.layout import Notes

    from .slices import Slice

UNEVEN_LIMIT = 0.2  # of a step, by which a slice may lie off its place in a regular volume
UNEVEN_WARNING = 0.02
SAME_PLACE = 0.02  # of a step: nearer than that, two slices show the same
TILT_LIMIT = 0.25  # pixels by which slices may be shifted against one another, over the whole series
AXES_TOLERANCE = 1e-3
LEAST_STEP_MM = 1e-3
REMEDY_SERIES = "Export the whole series again, and only it."


@dataclass(frozen=True, eq=False)
class Grid:
    """Slices in the order of the volume, where it lies, and what was unusual."""

    slices: tuple[Slice, ...]
    geometry: Geometry
    warnings: Notes = ()


def regular_grid(name: str, slices: Sequence[Slice]) -> Grid:
    """Put slices in order.

    Args:
        name: of the series, for messages.
        slices: in any order.

    Returns:
        The slices from the one that lies lowest along the normal, which is rows' axis times columns' axis.

    Raises:
        Refusal: ``series.*``, with the numbers.
    """
    _check_alike(name, slices)
    axes = _axes(name, slices)
    positions = np.array([one.position for one in slices]) @ axes  # along rows, columns and normal
    order = np.argsort(positions[:, 2], kind="stable")
    ordered, positions = [slices[index] for index in order], positions[order]
    if len(ordered) == 1:
        step, warnings = _single(name, ordered[0])
    else:
        step, warnings = _step(name, positions[:, 2])
        _check_tilt(name, positions, ordered[0].spacing)
    spacing = (*ordered[0].spacing, step)
    geometry = Geometry(3, spacing, ordered[0].position, tuple(axes.ravel().tolist()))
    return Grid(tuple(ordered), geometry, (*warnings, *_remarks(name, ordered)))


def _check_alike(name: str, slices: Sequence[Slice]) -> None:
    for what, keyword in (
        ("series", "SeriesInstanceUID"),
        ("frames of reference", "FrameOfReferenceUID"),
        ("kinds of image", "Modality"),
    ):
        groups: dict[str, int] = {}
        for one in slices:
            value = str(one.header.dataset.get(keyword, ""))
            groups[value] = groups.get(value, 0) + 1
        if len(groups) > 1:
            raise _mixed(name, what, sorted(groups.values(), reverse=True))
    _check_same(name, "sizes (columns, rows)", [one.size for one in slices], tolerance=0)
    _check_same(name, "orientations", [one.axes for one in slices], tolerance=AXES_TOLERANCE)
    spacings = [one.spacing for one in slices]
    _check_same(name, "pixel spacings", spacings, tolerance=1e-3 * min(spacings[0]))
    is_by_slice = str(slices[0].header.dataset.get("Modality", "")) in PER_SLICE_RESCALE
    if not is_by_slice or any(one.rescale is None for one in slices):
        _check_rescale(name, slices)


def _check_same(name: str, what: str, values: Sequence[tuple[float, ...]], *, tolerance: float) -> None:
    table = np.array(values, float)
    off = np.abs(table - np.median(table, axis=0)).max(axis=1) > tolerance
    if off.any():
        kinds = sorted({tuple(value) for value in values})
        raise Refusal(
            Code.SERIES_MIXED,
            f"{name} holds images of different {what}: {int(off.sum())} of {len(values)} are unlike most.",
            remedy="Send one series without localizers and reformatted images.",
            observed=[list(kind) for kind in kinds[:8]],
            expected=f"one of all {what}",
        )


def _check_rescale(name: str, slices: Sequence[Slice]) -> None:
    kinds = {one.rescale for one in slices}
    if len(kinds) > 1:
        found: list[Any] = sorted(([*kind] if kind else []) for kind in kinds)
        raise Refusal(
            Code.SERIES_RESCALE,
            f"{name} holds images with {len(kinds)} different rescalings (slope, intercept).",
            remedy="Send the images of one reconstruction, with one rescaling.",
            observed=found[:8],
            expected="the same slope and intercept in every image",
        )


def _mixed(name: str, what: str, counts: Sequence[int]) -> Refusal:
    listed = ", ".join(str(count) for count in counts[:8])
    return Refusal(
        Code.SERIES_MIXED,
        f"{name} holds images of {len(counts)} {what} ({listed} images).",
        remedy="Send one series; for several channels, one folder or zip file for each.",
        observed=list(counts[:100]),
        expected=1,
    )


def _axes(name: str, slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Directions of x, y and z as columns of a matrix, at right angles."""
    mean = np.array([one.axes for one in slices]).mean(axis=0)
    along, down = mean[:3], mean[3:]
    lengths = np.linalg.norm(along), np.linalg.norm(down)
    if max(abs(length - 1) for length in lengths) > 10 * AXES_TOLERANCE or abs(along @ down) > (
        10 * AXES_TOLERANCE
    ):
        raise Refusal(
            Code.SERIES_UNPLACED,
            f"{name} has rows and columns that are not at right angles, or not of length 1.",
            remedy=REMEDY_SERIES,
            observed=mean.tolist(),
            expected="two unit vectors at right angles (ImageOrientationPatient)",
        )
    x = along / lengths[0]
    y = down - (down @ x) * x
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _single(name: str, one: Slice) -> tuple[float, Notes]:
    if one.thickness is None:
        raise Refusal(
            Code.SERIES_UNPLACED,
            f"{name} holds a single slice without a thickness.",
            remedy="Send the whole series.",
            observed=1,
            expected="SliceThickness, or several slices",
        )
    sentence = (
        f"{name} holds a single slice; its thickness of {one.thickness:g} mm was taken for the spacing."
    )
    return one.thickness, (("series.single_slice", sentence),)


def _step(name: str, heights: NDArray[np.float64]) -> tuple[float, Notes]:
    """Distance of neighbouring slices in millimetres."""
    gaps = np.diff(heights)
    typical = float(np.quantile(gaps, 0.5, method="lower"))
    _check_duplicates(name, heights, gaps, typical)
    step = float(heights[-1] - heights[0]) / (len(heights) - 1)
    regular = heights[0] + step * np.arange(len(heights))
    off = max(
        float(np.abs(gaps - typical).max()) / typical,
        float(np.abs(heights - regular).max()) / step,
    )
    if off > UNEVEN_LIMIT:
        raise _gap(name, gaps, typical)
    if off > UNEVEN_WARNING:
        sentence = (
            f"The slices of {name} lie up to {off:.0%} of a step off a regular volume; {step:g} mm was used."
        )
        return step, (("series.uneven_steps", sentence),)
    return step, ()


def _check_duplicates(name: str, heights: NDArray[np.float64], gaps: NDArray[Any], typical: float) -> None:
    positive = gaps[gaps > LEAST_STEP_MM]
    usual = typical if typical > LEAST_STEP_MM else float(np.median(positive)) if positive.size else 1.0
    together = int((gaps < max(SAME_PLACE * usual, LEAST_STEP_MM)).sum())
    if not together:
        return
    places = len(heights) - together
    volumes = len(heights) / places
    several = f": {volumes:g} volumes (time points, echoes, directions)" if volumes.is_integer() else ""
    raise Refusal(
        Code.SERIES_DUPLICATE_SLICE,
        f"{name} holds {len(heights)} slices at {places} places{several}.",
        remedy="Send each slice once; of several volumes in a series, one.",
        observed={"slices": len(heights), "places": places},
        expected={"slices": places},
    )


def _gap(name: str, gaps: NDArray[Any], typical: float) -> Refusal:
    widest = int(np.argmax(np.abs(gaps - typical)))
    missing = int(sum(max(round(float(gap) / typical) - 1, 0) for gap in gaps))
    if missing:
        what = f"{missing} of {len(gaps) + 1 + missing} slices are missing"
    else:
        what = "the slices do not lie at equal distances"
    return Refusal(
        Code.SERIES_MISSING_SLICE,
        f"{name} is no regular volume: {what}. Slices {widest + 1} and {widest + 2} of {len(gaps) + 1} are "
        f"{float(gaps[widest]):.4g} mm apart, most are {typical:.4g} mm.",
        remedy=REMEDY_SERIES,
        observed={"step_mm": round(float(gaps[widest]), 4), "missing": missing, "slices": len(gaps) + 1},
        expected={"step_mm": round(typical, 4)},
    )


def _check_tilt(name: str, positions: NDArray[np.float64], spacing: Sequence[float]) -> None:
    inside = positions[:, :2]
    shifts = np.abs(inside - np.median(inside, axis=0)).max(axis=0)
    if (shifts <= TILT_LIMIT * np.array(spacing)).all():
        return
    travelled = positions[-1] - positions[0]
    angle = float(np.degrees(np.arctan2(np.linalg.norm(travelled[:2]), travelled[2])))
    raise Refusal(
        Code.SERIES_TILTED,
        f"The slices of {name} are shifted against one another by up to {shifts.max():.4g} mm: "
        f"they are stacked at an angle of {angle:.3g} degrees (tilted gantry), or in jumps.",
        remedy="Resample the series to a straight stack first.",
        observed={"shift_mm": round(float(shifts.max()), 4), "tilt_degrees": round(angle, 3)},
        expected={"shift_mm_at_most": round(TILT_LIMIT * min(spacing), 4)},
    )


def _remarks(name: str, slices: Sequence[Slice]) -> Notes:
    if str(slices[0].header.dataset.get("PhotometricInterpretation", "")) != "MONOCHROME1":
        return ()
    sentence = f"{name} is to be shown inverted (MONOCHROME1); its values were taken as they are."
    return (("series.monochrome1", sentence),)
