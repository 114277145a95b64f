"""Stored numbers of a slice. Uncompressed ones are taken as they lie; for all others GDCM is asked.

GDCM gets one image at a time in a file made here, with nothing in it but what is needed to decode it: neither
the patient's name, nor whatever a hostile header holds.
"""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats.layout import corrupt, truncated, unsupported

from .headers import BROKEN, import_pydicom, integer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from pydicom import Dataset

    from .files import Files
    from .headers import Header
    from .slices import Slice

# transfer syntaxes whose pixels lie there as they are -> byte order
PLAIN: Mapping[str, str] = {
    "1.2.840.10008.1.2": "<",
    "1.2.840.10008.1.2.1": "<",
    "1.2.840.10008.1.2.2": ">",
}
GDCM: Mapping[str, str] = {
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless SV1",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near Lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
}
LOSSY = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"})
_PIXEL_MODULE = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


def check_syntaxes(name: str, headers: Sequence[Header]) -> None:
    """Refuse transfer syntaxes that nobody here can decode, by name.

    Raises:
        Refusal: ``series.transfer_syntax``.
    """
    for header in headers:
        if header.syntax in PLAIN or header.syntax in GDCM:
            continue
        raise Refusal(
            Code.SERIES_TRANSFER_SYNTAX,
            f"{name} is compressed as {_syntax_name(header.syntax)}, which is not supported.",
            remedy="Export it uncompressed (Explicit VR Little Endian), or as JPEG 2000 or JPEG-LS.",
            observed=header.syntax,
            expected=sorted([*PLAIN, *GDCM]),
        )


def is_lossy(headers: Sequence[Header]) -> bool:
    """Whether the compression, now or earlier, has changed the values."""
    return any(
        header.syntax in LOSSY or str(header.dataset.get("LossyImageCompression", "")) == "01"
        for header in headers
    )


def stored_values(name: str, slices: Sequence[Slice], files: Files) -> Iterator[NDArray[Any]]:
    """Yield the numbers (rows, columns) of each slice in turn, before rescaling.

    Args:
        name: of the series, for messages.
        slices: in the order in which they are wanted.
        files: whose headers they are.

    Raises:
        Refusal: pixels are missing, or cannot be decoded.
    """
    open_file = _OneFile(name, files)
    for one in slices:
        frame = open_file.frame(one)
        yield _unpacked(name, frame, one) if one.header.syntax in PLAIN else _by_gdcm(name, frame, one.header)


class _OneFile:
    """The file that was needed last, because frames of one file follow each other."""

    def __init__(self, name: str, files: Files) -> None:
        self._name = name
        self._files = files
        self._index: int | None = None
        self._pixels: Any = b""

    def frame(self, one: Slice) -> bytes:
        """Bytes of a frame as they are stored."""
        if self._index != one.header.index:
            self._pixels, self._index = self._load(one.header), one.header.index
        if one.header.syntax in PLAIN:
            return self._plain(one)
        pydicom = import_pydicom()
        try:
            return bytes(
                pydicom.encaps.get_frame(self._pixels, one.frame, number_of_frames=one.header.frames)
            )
        except BROKEN as error:
            raise truncated(self._name, len(self._pixels), None) from error

    def _load(self, header: Header) -> bytes:
        pydicom = import_pydicom()
        content = self._files.read(header.index)
        try:
            with pydicom.config.disable_value_validation():
                dataset = pydicom.dcmread(io.BytesIO(content), specific_tags=["PixelData", *_PIXEL_MODULE])
                pixels = dataset.get("PixelData", None)
        except BROKEN as error:
            raise truncated(self._name, len(content), None) from error
        if not pixels:
            raise truncated(self._name, len(content), None)
        return bytes(pixels)

    def _plain(self, one: Slice) -> bytes:
        bits = integer(self._name, one.header.dataset, "BitsAllocated", (8, 16, 32))
        size = one.size[0] * one.size[1] * bits // 8
        if len(self._pixels) < size * one.header.frames:
            raise truncated(self._name, len(self._pixels), size * one.header.frames)
        frame: bytes = self._pixels[one.frame * size : (one.frame + 1) * size]
        return frame


def _unpacked(name: str, frame: bytes, one: Slice) -> NDArray[Any]:
    """Numbers of so many bits: what stands in the other bits (overlays, once) is taken off."""
    dataset = one.header.dataset
    bits = integer(name, dataset, "BitsAllocated", (8, 16, 32))
    stored = integer(name, dataset, "BitsStored", range(1, bits + 1))
    integer(name, dataset, "HighBit", (stored - 1,))
    signed = integer(name, dataset, "PixelRepresentation", (0, 1))
    kind = f"{PLAIN[one.header.syntax]}{'i' if signed else 'u'}{bits // 8}"
    values = np.frombuffer(frame, kind).reshape(one.size[::-1]).astype(kind[1:])
    if stored < bits:
        values <<= bits - stored
        values >>= bits - stored  # repeats the sign, where there is one
    return values


def _by_gdcm(name: str, frame: bytes, header: Header) -> NDArray[Any]:
    with TemporaryDirectory(prefix="nnunet-losses-") as folder:
        file = Path(folder) / "image.dcm"
        _write_bare(file, frame, header)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(file))
        try:
            values = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            if "allocat" in str(error).lower():
                raise MemoryError from error
            raise _undecodable(name, header) from error
    values = values.reshape(values.shape[-2:]) if values.size == np.prod(values.shape[-2:]) else values
    if values.shape != (header.dataset.Rows, header.dataset.Columns):
        raise corrupt(
            name,
            "a compressed image has another size than its header announces.",
            observed=list(values.shape),
            expected=[int(header.dataset.Rows), int(header.dataset.Columns)],
        )
    return np.asarray(values)


def _undecodable(name: str, header: Header) -> Refusal:
    return corrupt(
        name,
        f"an image compressed as {GDCM[header.syntax]} cannot be decoded.",
        observed=header.syntax,
        expected="a whole compressed image",
    )


def _write_bare(file: Path, frame: bytes, header: Header) -> None:
    """Write one image without anything that is not needed to decode it."""
    pydicom = import_pydicom()
    bare = pydicom.Dataset()
    for keyword in _PIXEL_MODULE:
        if keyword in header.dataset:
            setattr(bare, keyword, header.dataset[keyword].value)
    bare.SOPClassUID, bare.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    bare.PixelData = pydicom.encaps.encapsulate([frame])
    bare["PixelData"].VR = "OB"
    bare.file_meta = _bare_meta(pydicom, header.syntax)
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(file, bare, enforce_file_format=True)


def _bare_meta(pydicom: Any, syntax: str) -> Dataset:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    return meta  # type: ignore[no-any-return]  # pydicom comes in at run time


def _syntax_name(syntax: str) -> str:
    known = str(import_pydicom().uid.UID(syntax).name)
    return known if known != syntax else f"{syntax[:64] or 'nothing'}"


def check_grey(name: str, slices: Sequence[Slice]) -> None:
    """Refuse pixels that are no integers (parametric maps)."""
    for one in slices:
        if "FloatPixelData" in one.header.dataset or "DoubleFloatPixelData" in one.header.dataset:
            raise unsupported(name, "holds floating-point pixels.", remedy="Convert it to NIfTI first.")
