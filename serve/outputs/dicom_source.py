"""The series that DICOM outputs refer to, and what they all say about themselves."""

from __future__ import annotations

from datetime import datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.errors import Code, Refusal

from . import installed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydicom import Dataset

    from nnunet_losses.serve.image import Geometry, Series

    from .answered import Answered

MANUFACTURER = "nnunet-losses"
# Attributes that an object must have, if only empty, where the source has none (PS3.3, C.7.1 and C.7.2).
REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
OF_THE_PATIENT_AND_STUDY = (
    "SpecificCharacterSet",
    "IssuerOfPatientID",
    "PatientAge",
    "PatientWeight",
    "StudyInstanceUID",
    "StudyDescription",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    *REQUIRED,
)


def import_library(name: str) -> Any:
    """Import a library of the extra ``dicom``.

    Raises:
        Refusal: ``output.not_installed``.
    """
    return installed.import_library(name, "dicom")


def series_of(answered: Answered) -> Series:
    """The series that the image came from.

    Raises:
        Refusal: ``output.impossible``, it was no DICOM series.
    """
    if answered.image.series is not None:
        return answered.image.series
    raise Refusal(
        Code.OUTPUT_IMPOSSIBLE,
        "DICOM objects refer to the series that they are about, and this image did not come as one.",
        remedy="Send the DICOM series, or ask for NIfTI.",
    )


def patient_and_study(series: Series) -> Dataset:
    """A new object's attributes that are its source's; those that must not be absent are there."""
    pydicom = import_library("pydicom")
    source = _dataset(series.common)
    made = pydicom.Dataset()
    for keyword in OF_THE_PATIENT_AND_STUDY:
        if keyword in source and (source[keyword].value or keyword in REQUIRED):
            made[keyword] = source[keyword]
        elif keyword in REQUIRED:
            setattr(made, keyword, "")
    if not made.get("StudyInstanceUID", ""):
        made.StudyInstanceUID = pydicom.uid.generate_uid(prefix=None)
    return made  # type: ignore[no-any-return]  # pydicom comes in at run time


def source_images(series: Series, geometry: Geometry) -> list[Dataset]:
    """Headers of the series' files, as far as a segmentation needs them: one for each, or one with frames.

    Args:
        series: what was kept of the series.
        geometry: of its own grid.
    """
    common = _dataset(series.common)
    if int(common.get("NumberOfFrames", None) or 1) > 1:
        return [_multi_frame(series, geometry)]
    images = []
    for instance in series.instances:
        image = patient_and_study(series)
        _add_image(image, common, series)
        image.update(_dataset(instance))
        image["PixelSpacing"], image["ImageOrientationPatient"] = (
            common["PixelSpacing"],
            common["ImageOrientationPatient"],
        )
        image.SliceThickness = _decimal(geometry.spacing[2])
        images.append(image)
    return images


def _multi_frame(series: Series, geometry: Geometry) -> Dataset:
    pydicom = import_library("pydicom")
    common, image = _dataset(series.common), patient_and_study(series)
    _add_image(image, common, series)
    first = _dataset(series.instances[0])
    image.SOPClassUID, image.SOPInstanceUID = first.SOPClassUID, first.SOPInstanceUID
    image.NumberOfFrames = len(series.instances)
    measures, orientation, shared = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing = common.PixelSpacing
    measures.SliceThickness = measures.SpacingBetweenSlices = _decimal(geometry.spacing[2])
    orientation.ImageOrientationPatient = common.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [_frame(instance) for instance in _by_frame(series)]
    return image


def _by_frame(series: Series) -> list[Dataset]:
    return sorted(map(_dataset, series.instances), key=lambda instance: int(instance.InstanceNumber))


def frame_order(series: Series) -> list[int] | None:
    """For each frame of a file with several, which slice of the volume it is; None for single images."""
    if int(_dataset(series.common).get("NumberOfFrames", None) or 1) == 1:
        return None
    numbers = [int(_dataset(instance).InstanceNumber) for instance in series.instances]
    return sorted(range(len(numbers)), key=numbers.__getitem__)


def _frame(instance: Dataset) -> Dataset:
    pydicom = import_library("pydicom")
    position, group = pydicom.Dataset(), pydicom.Dataset()
    position.ImagePositionPatient = instance.ImagePositionPatient
    group.PlanePositionSequence = [position]
    return group  # type: ignore[no-any-return]  # pydicom comes in at run time


def _add_image(image: Dataset, common: Dataset, series: Series) -> None:
    for keyword in ("SeriesInstanceUID", "SeriesNumber", "Modality", "Rows", "Columns"):
        if keyword in common:
            image[keyword] = common[keyword]
    if not image.get("FrameOfReferenceUID", ""):  # the series' own space, then
        image.FrameOfReferenceUID = common.SeriesInstanceUID
    if series.instances:
        image.InstanceNumber = 1


def _dataset(content: Mapping[str, Any]) -> Dataset:
    pydicom = import_library("pydicom")
    with pydicom.config.disable_value_validation():
        dataset: Dataset = pydicom.Dataset.from_json(dict(content))
    return dataset


def instance_datasets(series: Series) -> list[Dataset]:
    """SOP class, SOP instance, number and position of every slice, in the volume's order."""
    return [_dataset(instance) for instance in series.instances]


def common_dataset(series: Series) -> Dataset:
    """What all slices share."""
    return _dataset(series.common)


def _decimal(value: float) -> str:
    text: str = import_library("pydicom").valuerep.format_number_as_ds(float(value))
    return text


def decimals(values: Any) -> list[str]:
    """Numbers as DICOM's decimal strings."""
    return [_decimal(value) for value in values]


def version() -> str:
    """This package's."""
    return metadata.version("nnunet-losses")


def stamp(dataset: Dataset) -> None:
    """Say when an object was made, and by what."""
    now = datetime.now().astimezone()
    dataset.InstanceCreationDate = dataset.SeriesDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.SeriesTime = now.strftime("%H%M%S")
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = version()
    dataset.DeviceSerialNumber = "1"
