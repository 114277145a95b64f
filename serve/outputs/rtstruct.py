"""RTSTRUCT: outlines of every label, slice by slice, in the patient's millimetres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.formats.writing import replacing

from .colours import colour
from .contours import outlines
from .dicom_source import (
    common_dataset,
    frame_order,
    import_library,
    instance_datasets,
    patient_and_study,
    series_of,
    stamp,
)
from .kinds import ENDINGS, EmptySeg, OutputKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom import Dataset

    from nnunet_losses.serve.image import Geometry, Series

    from .answered import Answered

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
SERIES_NUMBER = 9200
MOST_DIGITS = 6  # behind the point: nanometres


def write_rtstruct(answered: Answered) -> Sequence[Path]:
    """Write the mask as closed planar contours along the pixels' edges; see ``contours``.

    A label that is not there is listed as a region of interest without contours.

    Raises:
        Refusal: the image was no DICOM series, or pydicom is not installed.
    """
    series = series_of(answered)
    items = [_contours(answered, series, index, inside) for index, _, inside in answered.labels()]
    is_empty = not any("ContourSequence" in item for item in items)
    if is_empty and answered.options.empty_seg is EmptySeg.OMIT:
        return []
    structure = _structure_set(answered, series)
    structure.ROIContourSequence = items
    path = answered.path(ENDINGS[OutputKind.RTSTRUCT])
    pydicom = import_library("pydicom")
    with replacing(path) as temporary, pydicom.config.disable_value_validation():
        pydicom.dcmwrite(temporary, structure, enforce_file_format=True)
    return [path]


def _structure_set(answered: Answered, series: Series) -> Dataset:
    pydicom = import_library("pydicom")
    made = patient_and_study(series)
    made.SOPClassUID = RT_STRUCTURE_SET
    made.SOPInstanceUID = answered.uid("rtstruct")
    made.SeriesInstanceUID = answered.uid("rtstruct series")
    made.Modality, made.SeriesNumber, made.InstanceNumber = "RTSTRUCT", SERIES_NUMBER, 1
    stamp(made)
    made.OperatorsName = ""
    made.SeriesDescription = f"{answered.description.name} structures"[:64]
    made.StructureSetLabel = "nnunet-losses"
    made.StructureSetName = answered.description.name[:64]
    made.StructureSetDescription = f"{answered.statement}; model {answered.answer.manifest.bundle_sha256}"[
        :1024
    ]
    made.StructureSetDate, made.StructureSetTime = made.SeriesDate, made.SeriesTime
    made.ApprovalStatus = "UNAPPROVED"
    frame = _frame_of_reference(series)
    made.FrameOfReferenceUID = frame
    made.ReferencedFrameOfReferenceSequence = [_referenced(series, frame)]
    made.StructureSetROISequence = [
        _region(frame, index, label.name) for index, label, _ in answered.labels()
    ]
    made.RTROIObservationsSequence = [_observation(index) for index, _, _ in answered.labels()]
    made.file_meta = pydicom.dataset.FileMetaDataset()
    # explicit VRs hold 64 KiB of coordinates at most (PS3.5, 7.1.2): some 2000 points of one contour
    made.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    return made


def _frame_of_reference(series: Series) -> str:
    common = common_dataset(series)
    return str(common.get("FrameOfReferenceUID", "") or common.SeriesInstanceUID)


def _referenced(series: Series, frame: str) -> Dataset:
    pydicom, common = import_library("pydicom"), common_dataset(series)
    of_series, of_study, of_frame = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    of_series.SeriesInstanceUID = common.SeriesInstanceUID
    unique = {str(one.SOPInstanceUID): one for one in instance_datasets(series)}
    of_series.ContourImageSequence = [_image_reference(one, None) for one in unique.values()]
    of_study.ReferencedSOPClassUID = DETACHED_STUDY
    of_study.ReferencedSOPInstanceUID = common.get("StudyInstanceUID", "")
    of_study.RTReferencedSeriesSequence = [of_series]
    of_frame.FrameOfReferenceUID = frame
    of_frame.RTReferencedStudySequence = [of_study]
    return of_frame  # type: ignore[no-any-return]  # pydicom comes in at run time


def _image_reference(instance: Dataset, frame: int | None) -> Dataset:
    reference = import_library("pydicom").Dataset()
    reference.ReferencedSOPClassUID = instance.SOPClassUID
    reference.ReferencedSOPInstanceUID = instance.SOPInstanceUID
    if frame is not None:
        reference.ReferencedFrameNumber = frame
    return reference  # type: ignore[no-any-return]  # pydicom comes in at run time


def _region(frame: str, index: int, name: str) -> Dataset:
    region = import_library("pydicom").Dataset()
    region.ROINumber = index + 1
    region.ReferencedFrameOfReferenceUID = frame
    region.ROIName = name[:64]
    region.ROIGenerationAlgorithm = "AUTOMATIC"
    return region  # type: ignore[no-any-return]  # pydicom comes in at run time


def _observation(index: int) -> Dataset:
    observation = import_library("pydicom").Dataset()
    observation.ObservationNumber = observation.ReferencedROINumber = index + 1
    observation.RTROIInterpretedType = ""
    observation.ROIInterpreter = ""
    return observation  # type: ignore[no-any-return]  # pydicom comes in at run time


def _contours(answered: Answered, series: Series, index: int, inside: NDArray[np.bool_]) -> Dataset:
    item = import_library("pydicom").Dataset()
    item.ROIDisplayColor = list(colour(index))
    item.ReferencedROINumber = index + 1
    _, geometry = answered.own
    instances, has_frames = instance_datasets(series), frame_order(series) is not None
    found = []
    for number in np.flatnonzero(inside.any(axis=(1, 2))).tolist():
        frame = int(instances[number].InstanceNumber) if has_frames else None
        image = _image_reference(instances[number], frame)
        found += [_contour(_placed(corners, number, geometry), image) for corners in outlines(inside[number])]
    if found:
        item.ContourSequence = found
    return item  # type: ignore[no-any-return]  # pydicom comes in at run time


def _contour(points: NDArray[np.float64], image: Dataset) -> Dataset:
    contour = import_library("pydicom").Dataset()
    contour.ContourImageSequence = [image]
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(points)
    contour.ContourData = [_short(value) for value in points.ravel().tolist()]
    return contour  # type: ignore[no-any-return]  # pydicom comes in at run time


def _placed(corners: NDArray[np.float64], number: int, geometry: Geometry) -> NDArray[np.float64]:
    """Pixels (x, y) of a slice in LPS millimetres."""
    axes = np.array(geometry.direction).reshape(3, 3) * np.array(geometry.spacing)
    indices = np.column_stack([corners, np.full(len(corners), float(number))])
    placed: NDArray[np.float64] = indices @ axes.T + np.array(geometry.origin)
    return placed


def _short(value: float) -> str:
    """A decimal string of at most 16 characters.

    Example:
        >>> _short(-1234.50000001), _short(0.0), _short(-1e-9)
        ('-1234.5', '0', '0')
    """
    text = f"{value:.{MOST_DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
