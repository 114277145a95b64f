"""Masks from DICOM objects, as others would read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import highdicom as hd
import numpy as np
import pydicom

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def read_seg(path: Path, sources: Sequence[pydicom.Dataset]) -> NDArray[np.uint8]:
    """Segments (slices, rows, columns, segments) at the source images, by highdicom."""
    segmentation = hd.seg.segread(path)
    uids = [source.SOPInstanceUID for source in sources]
    return segmentation.get_pixels_by_source_instance(
        uids, assert_missing_frames_are_empty=True, ignore_spatial_locations=True
    )


def read_rtstruct(path: Path, sources: Sequence[pydicom.Dataset]) -> NDArray[np.bool_]:
    """Regions (slices, rows, columns, regions): pixels whose centre lies in an odd number of contours."""
    structure = pydicom.dcmread(path)
    uids = [source.SOPInstanceUID for source in sources]
    shape = (len(sources), sources[0].Rows, sources[0].Columns)
    regions = [np.zeros(shape, bool) for _ in structure.ROIContourSequence]
    for region, item in zip(regions, structure.ROIContourSequence, strict=True):
        for contour in item.get("ContourSequence", []):
            number = uids.index(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
            corners = to_pixels(np.array(contour.ContourData, float).reshape(-1, 3), sources[number])
            region[number] ^= filled(corners, shape[1:])
    return np.stack(regions, axis=-1)


def to_pixels(points: NDArray[np.float64], source: pydicom.Dataset) -> NDArray[np.float64]:
    """Column and row of points in the patient; they must lie in the slice."""
    axes = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
    apart = points - np.array(source.ImagePositionPatient, float)
    normal = np.cross(*axes)
    assert np.abs(apart @ normal).max() < 1e-3
    row_spacing, column_spacing = (float(value) for value in source.PixelSpacing)
    return apart @ axes.T / [column_spacing, row_spacing]


def filled(corners: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Pixels whose centres lie in a polygon, by the even-odd rule (PNPOLY)."""
    inside = np.zeros(tuple(shape), bool)
    x = np.arange(shape[1])
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if abs(y1 - y2) < 1e-6:
            continue
        first, behind = (max(0, int(np.ceil(value))) for value in sorted((y1, y2)))
        crossed = np.arange(first, min(behind, shape[0]))
        inside[crossed] ^= x < ((x2 - x1) * (crossed - y1) / (y2 - y1) + x1)[:, None]
    return inside


def union_filled(corners: Sequence[Any], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Pixels in any of the polygons: how readers that know no holes see them."""
    found = np.zeros(tuple(shape), bool)
    for polygon in corners:
        found |= filled(polygon, shape)
    return found
