"""DICOM series made of phantoms: in any orientation, whole or damaged."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CANARY = "CANARY^PATIENT"  # must never be seen outside of DICOM objects
OBLIQUE = tuple(
    np.linalg.qr(np.array([[0.95, 0.25, 0.1], [-0.2, 0.93, 0.3], [0.05, -0.28, 0.9]]))[0].T.ravel()[:6]
)
# rows' axis and columns' axis (ImageOrientationPatient)
ORIENTATIONS: dict[str, tuple[float, ...]] = {
    "axial": (1, 0, 0, 0, 1, 0),
    "axial from above": (-1, 0, 0, 0, 1, 0),
    "axial prone": (-1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "sagittal mirrored": (0, -1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "coronal upside down": (1, 0, 0, 0, 0, 1),
    "oblique": OBLIQUE,
}
UIDS = {
    "series": generate_uid(entropy_srcs=["series"]),
    "study": generate_uid(entropy_srcs=["study"]),
}


@dataclass
class Phantom:
    """What to write.

    ``voxels`` are (slices, rows, columns); ``spacing`` is (along a row, along a column, between slices).
    """

    voxels: NDArray[Any]
    axes: Sequence[float] = (1, 0, 0, 0, 1, 0)
    spacing: tuple[float, float, float] = (0.7, 0.9, 2.5)
    origin: tuple[float, float, float] = (-31.5, 12.25, -87.0)
    rescale: tuple[float, float] | None = (1.0, -1024.0)
    tags: dict[str, Any] = field(default_factory=dict)

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.cross(self.axes[:3], self.axes[3:])

    def dataset(self, number: int) -> pydicom.Dataset:
        """The slice of a number, from 0."""
        made = pydicom.Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = CTImageStorage
        uid = generate_uid(entropy_srcs=["slice", str(number)])
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
        made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = CANARY, "id-1", "", ""
        made.StudyInstanceUID, made.SeriesInstanceUID = UIDS["study"], UIDS["series"]
        made.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
        made.StudyDate, made.StudyTime, made.StudyID, made.AccessionNumber = "20261101", "1200", "1", ""
        made.ReferringPhysicianName, made.Modality, made.SeriesNumber = "", "CT", 3
        made.InstanceNumber = number + 1
        made.ImageOrientationPatient = [format_number_as_ds(float(v)) for v in self.axes]
        place = np.array(self.origin) + number * self.spacing[2] * self.normal
        made.ImagePositionPatient = [format_number_as_ds(float(v)) for v in place]
        made.PixelSpacing = [format_number_as_ds(self.spacing[1]), format_number_as_ds(self.spacing[0])]
        made.SliceThickness = "7.5"  # not the step
        self._pixels(made, number)
        for keyword, value in self.tags.items():
            setattr(made, keyword, value)
        return made

    def _pixels(self, made: pydicom.Dataset, number: int) -> None:
        pixels = self.voxels[number]
        made.Rows, made.Columns = pixels.shape
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation = 15, int(pixels.dtype.kind == "i")
        if self.rescale is not None:
            made.RescaleSlope, made.RescaleIntercept = self.rescale
        made.PixelData = np.ascontiguousarray(pixels).tobytes()

    def datasets(self) -> list[pydicom.Dataset]:
        """All slices."""
        return [self.dataset(number) for number in range(len(self.voxels))]


def phantom(shape: tuple[int, int, int] = (9, 14, 17), seed: int = 0, **changes: Any) -> Phantom:
    """Noise of the modality's range, with a bright box off the centre."""
    voxels = np.random.default_rng(seed).integers(900, 1300, shape).astype(np.int16)
    voxels[2:5, 3:9, 4:13] += 500
    return Phantom(voxels, **changes)


def write_series(folder: Path, datasets: Sequence[pydicom.Dataset], *, shuffle: bool = True) -> Path:
    """Write files under names that say nothing about their order."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(1).permutation(len(datasets)) if shuffle else np.arange(len(datasets))
    for name, dataset in zip(order.tolist(), datasets, strict=True):
        pydicom.dcmwrite(folder / f"IM{name:04d}", dataset, enforce_file_format=True)
    return folder


def zipped(folder: Path, target: Path, change: Callable[[bytes], bytes] = bytes) -> Path:
    """Zip a folder's files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.writestr(f"study/{file.name}", change(file.read_bytes()))
    return target
