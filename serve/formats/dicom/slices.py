"""Slices: one of each file, or one of each frame of a file with several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats.layout import unsupported

from .headers import integer, numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom import Dataset

    from .headers import Header


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of a series: where it lies, and how its numbers are to be read.

    Attributes:
        header: of its file.
        frame: which image of the file, from 0.
        size: (columns, rows).
        position: of the first voxel's centre (ImagePositionPatient), LPS millimetres.
        axes: towards where the columns and the rows count up (ImageOrientationPatient).
        spacing: distance of neighbours (along a row, along a column) in millimetres: PixelSpacing reversed.
        slope, intercept: value = slope * stored + intercept; None where the file gives none.
        thickness: SliceThickness, if given.
    """

    header: Header
    frame: int
    size: tuple[int, int]
    position: tuple[float, ...]
    axes: tuple[float, ...]
    spacing: tuple[float, ...]
    rescale: tuple[float, float] | None
    thickness: float | None


def slices_of(name: str, headers: Sequence[Header]) -> list[Slice]:
    """Describe every image of the files.

    Raises:
        Refusal: one does not say where it lies (``series.unplaced``), is no grey image
            (``input.unsupported_format``), has a rescaling that cannot be applied (``series.rescale``), or is
            one of several in a file that does not describe them (``series.multi_frame``).
    """
    if len(headers) > 1 and any(header.frames > 1 for header in headers):
        raise Refusal(
            Code.SERIES_MIXED,
            f"{name} holds {len(headers)} files, of which some have several frames.",
            remedy="Send one multi-frame file, or the files of one series of single images.",
            observed=sorted({header.frames for header in headers}),
        )
    found = []
    for header in headers:
        _check_pixels(name, header)
        groups = header.dataset.get("PerFrameFunctionalGroupsSequence", None)
        found += [_plain(name, header)] if groups is None else _frames(name, header, list(groups))
    return found


def _check_pixels(name: str, header: Header) -> None:
    dataset = header.dataset
    integer(name, dataset, "SamplesPerPixel", (1,))
    integer(name, dataset, "BitsAllocated", (8, 16, 32))
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise unsupported(
            name,
            f"has images in {photometric[:16] or 'an unknown interpretation'}.",
            remedy="Send a series of grey images.",
            observed=photometric[:16],
            expected=["MONOCHROME2", "MONOCHROME1"],
        )


def _plain(name: str, header: Header) -> Slice:
    if header.frames != 1:
        raise _undescribed(name, header.frames)
    dataset = header.dataset
    return _slice(name, header, 0, dict.fromkeys(("position", "orientation", "measures", "values"), dataset))


def _frames(name: str, header: Header, groups: list[Dataset]) -> list[Slice]:
    shared = header.dataset.get("SharedFunctionalGroupsSequence", None) or [{}]
    if len(groups) != header.frames:
        raise _undescribed(name, header.frames)
    return [_frame(name, header, index, (group, shared[0])) for index, group in enumerate(groups)]


_MACROS = {
    "position": "PlanePositionSequence",
    "orientation": "PlaneOrientationSequence",
    "measures": "PixelMeasuresSequence",
    "values": "PixelValueTransformationSequence",
}


def _frame(name: str, header: Header, index: int, groups: tuple[Any, ...]) -> Slice:
    """Take each macro from the frame's own group, or from the shared one."""
    parts = {}
    for part, keyword in _MACROS.items():
        items = next((group.get(keyword) for group in groups if group.get(keyword)), None)
        if items:
            parts[part] = items[0]
    if not {"position", "orientation", "measures"} <= set(parts):
        raise _undescribed(name, header.frames)
    return _slice(name, header, index, parts)


def _slice(name: str, header: Header, frame: int, parts: dict[str, Dataset]) -> Slice:
    position = numbers(parts["position"], "ImagePositionPatient", 3)
    axes = numbers(parts["orientation"], "ImageOrientationPatient", 6)
    spacing = numbers(parts["measures"], "PixelSpacing", 2)
    if position is None or axes is None or spacing is None or min(spacing) <= 0:
        given = {
            "ImagePositionPatient": position,
            "ImageOrientationPatient": axes,
            "PixelSpacing": spacing,
        }
        raise _unplaced(name, given)
    size = tuple(integer(name, header.dataset, side, range(1, 65536)) for side in ("Columns", "Rows"))
    thickness = numbers(parts["measures"], "SliceThickness", 1)
    return Slice(
        header=header,
        frame=frame,
        size=(size[0], size[1]),
        position=position,
        axes=axes,
        spacing=spacing[::-1],
        rescale=_rescale(name, parts.get("values"), header),
        thickness=thickness[0] if thickness is not None and thickness[0] > 0 else None,
    )


def _rescale(name: str, values: Dataset | None, header: Header) -> tuple[float, float] | None:
    if header.dataset.get("ModalityLUTSequence", None):
        raise _rescale_refusal(name, "maps its values by a table (Modality LUT)", "a slope and an intercept")
    if values is None or ("RescaleSlope" not in values and "RescaleIntercept" not in values):
        return None
    slope, intercept = numbers(values, "RescaleSlope", 1), numbers(values, "RescaleIntercept", 1)
    if slope is None or intercept is None or slope[0] == 0:
        observed = [None if value is None else value[0] for value in (slope, intercept)]
        raise _rescale_refusal(name, f"has the rescaling {observed} (slope, intercept)", observed)
    return slope[0], intercept[0]


def _rescale_refusal(name: str, what: str, observed: Any) -> Refusal:
    return Refusal(
        Code.SERIES_RESCALE,
        f"{name} {what}.",
        remedy="Export the series again; its values cannot be trusted as they are.",
        observed=observed,
        expected="one finite slope that is not 0, and one finite intercept",
    )


def _unplaced(name: str, given: dict[str, Any]) -> Refusal:
    missing = [keyword for keyword, value in given.items() if value is None or keyword == "PixelSpacing"]
    return Refusal(
        Code.SERIES_UNPLACED,
        f"{name} holds an image that does not say where it lies: {', '.join(missing)}.",
        remedy="Send a series of slices (CT, MR, PET), not of projections or screenshots.",
        observed={keyword: None if value is None else list(value) for keyword, value in given.items()},
        expected=list(given),
    )


def _undescribed(name: str, frames: int) -> Refusal:
    return Refusal(
        Code.SERIES_MULTI_FRAME,
        f"{name} holds {frames} frames in one file that does not say where each of them lies.",
        remedy="Send an enhanced multi-frame image, or the series as single images.",
        observed=frames,
        expected="position, orientation and pixel measures of every frame",
    )
