"""The headers of a series' files: what the slices need, read before any pixel is."""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunet_losses.extras import install_command
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats.layout import corrupt, truncated, unsupported

from .files import is_dicom

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom import Dataset

    from .files import Files

# Objects that say something about images, and often lie beside them.
COMPANIONS = frozenset({"SR", "PR", "KO", "SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG", "DOC", "AU", "FID"})
DEFLATED = "1.2.840.10008.1.2.1.99"
META_BYTES = 1 << 16  # within which the transfer syntax stands
DIRECTORY = "1.2.840.10008.1.3.10"  # DICOMDIR, an index of files
PER_SLICE_RESCALE = frozenset({"PT", "NM"})  # where every slice rightly has a slope of its own
# what pydicom raises over broken files
BROKEN = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Header:
    """One file's header.

    Attributes:
        index: of the file.
        dataset: everything before the pixels.
        syntax: UID of the transfer syntax.
    """

    index: int
    dataset: Dataset
    syntax: str

    @property
    def frames(self) -> int:
        """Number of images in the file."""
        return int(self.dataset.get("NumberOfFrames", None) or 1)


@dataclass(frozen=True)
class Headers:
    """Headers of the images, and how many other files there were."""

    images: tuple[Header, ...]
    objects: int  # DICOM, but no images
    others: int  # no DICOM files


def import_pydicom() -> Any:
    """Give pydicom, or a refusal that says how to get it."""
    try:
        import pydicom  # noqa: PLC0415 - an extra
    except ImportError:
        raise Refusal(
            Code.INPUT_UNSUPPORTED_FORMAT,
            "This is DICOM, and the library that reads it is not installed.",
            remedy=f"Install it with: {install_command('dicom')}",
        ) from None
    return pydicom


def read_headers(name: str, files: Files) -> Headers:
    """Read the headers of all files.

    Args:
        name: of the series, for messages.
        files: in any order.

    Raises:
        Refusal: a file is empty, or its header cannot be read; ``series.no_images``.
    """
    images, objects, others = [], 0, 0
    for index, content in _contents(name, files):
        if not is_dicom(content):
            _check_other(name, files.names[index], content)
            others += 1
        elif (header := _parsed(name, index, content)) is None:
            objects += 1
        else:
            images.append(header)
    if not images:
        raise Refusal(
            Code.SERIES_NO_IMAGES,
            f"{name} holds no DICOM image ({objects} other DICOM objects, {others} other files).",
            remedy="Send the folder of one series of images.",
            observed={"dicom_objects": objects, "other_files": others},
        )
    return Headers(tuple(images), objects, others)


def _contents(name: str, files: Files) -> Iterator[tuple[int, bytes]]:
    for index in range(len(files.names)):
        content = files.read(index)
        if not content:
            raise truncated(name, 0, None)
        yield index, content


def _check_other(name: str, file: str, content: bytes) -> None:
    """Refuse what calls itself DICOM and is not: a slice that would be missed at the end of a series."""
    if file.lower().endswith((".dcm", ".ima")):
        if len(content) < 132:
            raise truncated(name, len(content), None)
        raise unsupported(
            name,
            "holds a file that calls itself DICOM, but is not.",
            remedy="Export the series again, as DICOM part 10 files.",
            expected="DICM at byte 128",
        )


def _parsed(name: str, index: int, content: bytes) -> Header | None:
    """Header of an image; None for other objects."""
    pydicom = import_pydicom()
    if DEFLATED.encode() in content[:META_BYTES]:
        raise _deflated(name)  # pydicom would inflate it, however large it is
    try:
        with pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
            kind = str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
            modality = str(dataset.get("Modality", ""))
            is_image = "Rows" in dataset and modality not in COMPANIONS and kind != DIRECTORY
            header = Header(index, dataset, syntax)
            _ = header.frames
    except BROKEN as error:
        what = "the header of a file in it cannot be read."
        raise corrupt(name, what, observed=type(error).__name__) from error
    return header if is_image else None


def _deflated(name: str) -> Refusal:
    return Refusal(
        Code.SERIES_TRANSFER_SYNTAX,
        f"{name} is compressed as Deflated Explicit VR Little Endian, which is not supported.",
        remedy="Export it uncompressed (Explicit VR Little Endian).",
        observed=DEFLATED,
    )


def numbers(source: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Finite numbers of an attribute; None where it is absent or something else."""
    value = source.get(keyword, None)
    values: Sequence[Any] = value if count > 1 and value is not None else [value]
    try:
        found = tuple(float(entry) for entry in values)
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def integer(name: str, source: Dataset, keyword: str, allowed: Sequence[int] | range) -> int:
    """Value of an attribute that must be one of some whole numbers.

    Raises:
        Refusal: it is another one.
    """
    found = numbers(source, keyword, 1)
    if found is None or found[0] not in allowed:
        raise unsupported(
            name,
            f"has {keyword} = {'nothing' if found is None else f'{found[0]:g}'}.",
            remedy="Send a series of grey images.",
            observed=None if found is None else found[0],
            expected=list(allowed) if len(allowed) < 9 else f"{allowed[0]} to {allowed[-1]}",
        )
    return int(found[0])
