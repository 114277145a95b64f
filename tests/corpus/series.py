"""DICOM series that are no regular volume, or not whole; zipped as they would be sent."""

from __future__ import annotations

import copy
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import generate_uid

from nnunet_losses.serve.errors import Code

from ..serve.dicom.series import Phantom, phantom, write_series, zipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[list[pydicom.Dataset]], list[pydicom.Dataset]]
    Make = Callable[[Path], Path]

MPEG2 = "1.2.840.10008.1.2.4.100"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
DEFLATED = "1.2.840.10008.1.2.1.99"


def made(change: Change, **options: Any) -> Make:
    """Zip a series that was changed."""

    def make(folder: Path) -> Path:
        small = phantom((7, 8, 9), **options)
        with pydicom.config.disable_value_validation():
            write_series(folder / "series", change(small.datasets()))
        return zipped(folder / "series", folder / "series.zip")

    return make


def one(number: int = 3, **values: Any) -> Change:
    """Give one slice other attributes; None removes."""

    def change(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
        _give(slices[number], values)
        return slices

    return change


def every(**values: Any) -> Change:
    def change(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
        for dataset in slices:
            _give(dataset, values)
        return slices

    return change


def _give(dataset: pydicom.Dataset, values: dict[str, Any]) -> None:
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)


def without(*numbers: int) -> Change:
    return lambda slices: [dataset for i, dataset in enumerate(slices) if i not in numbers]


def moved(shift: Callable[[int], tuple[float, float, float]]) -> Change:
    """Move each slice by some millimetres."""

    def change(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
        for number, dataset in enumerate(slices):
            place = np.array(dataset.ImagePositionPatient, float) + shift(number)
            dataset.ImagePositionPatient = [f"{value:.6f}" for value in place]
        return slices

    return change


def again(*, same_uid: bool) -> Change:
    def change(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
        double = copy.deepcopy(slices[2])
        if not same_uid:
            double.SOPInstanceUID = double.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        return [*slices, double]

    return change


def table(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    for dataset in slices:
        lut = pydicom.Dataset()
        lut.LUTDescriptor, lut.LUTData = [4, 0, 16], [0, 1, 2, 3]
        lut["LUTDescriptor"].VR, lut["LUTData"].VR = "US", "US"
        lut.ModalityLUTType = "HU"
        dataset.ModalityLUTSequence = DicomSequence([lut])
    return slices


def small_slice(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    slices[3].Rows = 4
    slices[3].PixelData = slices[3].PixelData[: 4 * 9 * 2]
    return slices


def bytes_changed(change: Callable[[bytes], bytes], number: int = 3) -> Make:
    """Change one file's bytes."""

    def make(folder: Path) -> Path:
        series = write_series(folder / "series", phantom((7, 8, 9)).datasets(), shuffle=False)
        file = series / f"IM{number:04d}"
        file.write_bytes(change(file.read_bytes()))
        return zipped(series, folder / "series.zip")

    return make


def beside(name: str, content: bytes) -> Make:
    """A whole series with another file beside it."""

    def make(folder: Path) -> Path:
        series = write_series(folder / "series", phantom((7, 8, 9)).datasets())
        (series / name).write_bytes(content)
        return zipped(series, folder / "series.zip")

    return make


def compressed_garbage(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = JPEG_2000
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
        dataset["PixelData"].VR = "OB"
    return slices


def syntax(uid: str) -> Change:
    def change(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
        for dataset in slices:
            dataset.file_meta.TransferSyntaxUID = uid
            dataset.PixelData = pydicom.encaps.encapsulate([bytes(64)])
            dataset["PixelData"].VR = "OB"
        return slices

    return change


def many_frames(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    slices[0].NumberOfFrames = 7
    slices[0].PixelData = b"".join(dataset.PixelData for dataset in slices)
    return slices[:1]


def deflated(folder: Path) -> Path:
    """A file that is a thousandth of what it inflates to."""
    import zlib

    series = write_series(folder / "series", phantom((7, 8, 9)).datasets(), shuffle=False)
    head = (series / "IM0000").read_bytes()
    meta_end = 144 + struct.unpack_from("<I", head, 140)[0]
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "2.25.7"
    meta.TransferSyntaxUID = DEFLATED
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    pydicom.filewriter.write_file_meta_info(buffer, meta)
    packer = zlib.compressobj(9, wbits=-15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
    assert meta_end > 132
    (series / "IM0000").write_bytes(bytes(128) + b"DICM" + buffer.getvalue() + packed)
    return zipped(series, folder / "series.zip")


def nested(content: bytes) -> bytes:
    """A thousand sequences, one in the other, before the pixels."""
    begin = content.index(b"\x28\x00\x02\x00US")
    item = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return content[:begin] + item * 2000 + content[begin:]


def two_volumes(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    later = copy.deepcopy(slices)
    for dataset in later:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return [*slices, *later]


def only_a_report(folder: Path) -> Path:
    report = Phantom(np.zeros((1, 4, 4), np.int16)).dataset(0)
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    report.Modality = "SR"
    return zipped(write_series(folder / "series", [report]), folder / "series.zip")


SERIES: dict[str, tuple[Make, Code]] = {
    "a slice missing": (made(without(3)), Code.SERIES_MISSING_SLICE),
    "two slices missing": (made(without(2, 4)), Code.SERIES_MISSING_SLICE),
    "three slices missing in a row": (made(without(2, 3, 4)), Code.SERIES_MISSING_SLICE),
    "the second last missing": (made(without(5)), Code.SERIES_MISSING_SLICE),
    "slices at unequal distances": (
        made(moved(lambda i: (0, 0, 0.9 * (i > 3)))),
        Code.SERIES_MISSING_SLICE,
    ),
    "a slice twice": (made(again(same_uid=False)), Code.SERIES_DUPLICATE_SLICE),
    "a file twice": (made(again(same_uid=True)), Code.SERIES_DUPLICATE_SLICE),
    "two time points": (made(two_volumes), Code.SERIES_DUPLICATE_SLICE),
    "tilted gantry": (made(moved(lambda i: (0, 0.6 * i, 0))), Code.SERIES_TILTED),
    "a slice aside": (made(moved(lambda i: (2.0 * (i == 3), 0, 0))), Code.SERIES_TILTED),
    "two series": (made(one(SeriesInstanceUID="2.25.1")), Code.SERIES_MIXED),
    "two frames of reference": (made(one(FrameOfReferenceUID="2.25.2")), Code.SERIES_MIXED),
    "two modalities": (made(one(Modality="MR")), Code.SERIES_MIXED),
    "a localizer": (made(one(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])), Code.SERIES_MIXED),
    "a slice upside down": (made(one(ImageOrientationPatient=[-1, 0, 0, 0, -1, 0])), Code.SERIES_MIXED),
    "a smaller slice": (made(small_slice), Code.SERIES_MIXED),
    "another pixel spacing": (made(one(PixelSpacing=[0.9, 0.8])), Code.SERIES_MIXED),
    "another slope": (made(one(RescaleSlope=2)), Code.SERIES_RESCALE),
    "another intercept": (made(one(RescaleIntercept=0)), Code.SERIES_RESCALE),
    "a slice without rescaling": (
        made(one(RescaleSlope=None, RescaleIntercept=None)),
        Code.SERIES_RESCALE,
    ),
    "zero slope": (made(every(RescaleSlope=0)), Code.SERIES_RESCALE),
    "slope without intercept": (made(every(RescaleIntercept=None)), Code.SERIES_RESCALE),
    "a table of values": (made(table), Code.SERIES_RESCALE),
    "no position": (made(one(ImagePositionPatient=None)), Code.SERIES_UNPLACED),
    "a position of two numbers": (made(one(ImagePositionPatient=[1, 2])), Code.SERIES_UNPLACED),
    "no orientation": (made(every(ImageOrientationPatient=None)), Code.SERIES_UNPLACED),
    "zero orientation": (made(every(ImageOrientationPatient=[0] * 6)), Code.SERIES_UNPLACED),
    "orientation at an angle": (
        made(every(ImageOrientationPatient=[1, 0, 0, 0.3, 0.954, 0])),
        Code.SERIES_UNPLACED,
    ),
    "orientation too long": (made(every(ImageOrientationPatient=[2, 0, 0, 0, 2, 0])), Code.SERIES_UNPLACED),
    "no pixel spacing": (made(every(PixelSpacing=None)), Code.SERIES_UNPLACED),
    "zero pixel spacing": (made(every(PixelSpacing=[0, 0])), Code.SERIES_UNPLACED),
    "negative pixel spacing": (made(every(PixelSpacing=[-1, 1])), Code.SERIES_UNPLACED),
    "one slice of unknown thickness": (
        made(lambda slices: every(SliceThickness=None)(slices[:1])),
        Code.SERIES_UNPLACED,
    ),
    "no rows": (made(every(Rows=0)), Code.INPUT_UNSUPPORTED_FORMAT),
    "more rows than pixels": (made(every(Rows=65535)), Code.INPUT_TRUNCATED),
    "colours": (
        made(every(SamplesPerPixel=3, PhotometricInterpretation="RGB")),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "a palette": (made(every(PhotometricInterpretation="PALETTE COLOR")), Code.INPUT_UNSUPPORTED_FORMAT),
    "more bits stored than there are": (made(every(BitsStored=20)), Code.INPUT_UNSUPPORTED_FORMAT),
    "bits at an odd place": (made(every(BitsStored=12, HighBit=15)), Code.INPUT_UNSUPPORTED_FORMAT),
    "single bits": (made(every(BitsAllocated=1, BitsStored=1, HighBit=0)), Code.INPUT_UNSUPPORTED_FORMAT),
    "frames that are not described": (made(many_frames), Code.SERIES_MULTI_FRAME),
    "a film": (made(syntax(MPEG2)), Code.SERIES_TRANSFER_SYNTAX),
    "an unknown transfer syntax": (
        bytes_changed(lambda data: data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")),
        Code.SERIES_TRANSFER_SYNTAX,
    ),
    "a deflated bomb": (deflated, Code.SERIES_TRANSFER_SYNTAX),
    "broken JPEG 2000": (made(compressed_garbage), Code.INPUT_CORRUPT),
    "a slice cut in its pixels": (bytes_changed(lambda data: data[:-40]), Code.INPUT_TRUNCATED),
    "a slice without pixels": (made(one(PixelData=None)), Code.INPUT_TRUNCATED),
    "the last slice cut": (bytes_changed(lambda data: data[:-2], 6), Code.INPUT_TRUNCATED),
    "an empty slice": (bytes_changed(lambda _: b""), Code.INPUT_TRUNCATED),
    "a header of nested sequences": (bytes_changed(nested), Code.INPUT_CORRUPT),
    "a file that only says it is DICOM": (beside("a.dcm", b"text" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "a stub": (beside("a.dcm", b"DICM"), Code.INPUT_TRUNCATED),
    "a report alone": (only_a_report, Code.SERIES_NO_IMAGES),
}  # fmt: skip
