"""What a SEG or RTSTRUCT must know of the series that it refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.image import Series

from .headers import import_pydicom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .slices import Slice

COMMON = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientWeight",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "PatientPosition",
    "BodyPartExamined",
    "Laterality",
    "NumberOfFrames",
    "Rows",
    "Columns",
)


def series_of(slices: Sequence[Slice]) -> Series:
    """Keep what other objects refer to, in the slices' order."""
    pydicom = import_pydicom()
    first = slices[0].header.dataset
    with pydicom.config.disable_value_validation():
        common = pydicom.Dataset()
        for keyword in COMMON:
            if keyword in first:
                common[keyword] = first[keyword]
        common.PixelSpacing = _decimals(pydicom, slices[0].spacing[::-1])
        common.ImageOrientationPatient = _decimals(pydicom, slices[0].axes)
        instances = tuple(_instance(pydicom, one) for one in slices)
        return Series(common=common.to_json_dict(), instances=instances)


def _instance(pydicom: Any, one: Slice) -> dict[str, Any]:
    instance = pydicom.Dataset()
    source = one.header.dataset
    instance.SOPClassUID = str(source.get("SOPClassUID", ""))
    instance.SOPInstanceUID = str(source.get("SOPInstanceUID", ""))
    instance.InstanceNumber = one.frame + 1 if one.header.frames > 1 else source.get("InstanceNumber", None)
    instance.ImagePositionPatient = _decimals(pydicom, one.position)
    content: dict[str, Any] = instance.to_json_dict()
    return content


def _decimals(pydicom: Any, values: Sequence[float]) -> list[str]:
    """Write numbers as DICOM does, in 16 characters at most."""
    return [pydicom.valuerep.format_number_as_ds(float(value)) for value in values]
