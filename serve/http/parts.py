"""The parts of a multipart/form-data body: files to a folder, fields to memory."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.multipart import parse_options_header

from nnunet_losses.serve.approximations import OPTIONS as APPROXIMATIONS
from nnunet_losses.serve.dicom_options import OPTIONS as DICOM
from nnunet_losses.serve.policies import OPTIONS  # what a request may ask of the predictor

from .problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from pathlib import Path

    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 128
MAX_FIELD_BYTES = 1024
MAX_HEADER_BYTES = 4096  # of one line; python-multipart has a bound of its own only since 0.0.27
FIELDS = ("model", "case", "outputs", "push", *OPTIONS, *DICOM, *APPROXIMATIONS)
REMEDY = "Send images as files, for example curl -F 'MRI=@image.nii.gz', with the @."

_HAS_FILENAME = re.compile(rb";\s*filename\*?\s*=", re.IGNORECASE)


@dataclass(frozen=True)
class FilePart:
    """One uploaded file: the part's name, where its bytes lie, and the end of the client's file name.

    The rest of the file name is not kept. ``suffix`` is only to be compared with known endings.
    """

    name: str
    path: Path
    suffix: str


@dataclass
class Upload:
    """What a request brought."""

    files: list[FilePart] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


class PartWriter:
    """Callbacks of the parser: headers to names, data to files or fields."""

    def __init__(self, folder: Path) -> None:
        self.upload = Upload()
        self.complete = False
        self._folder = folder
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._name = ""
        self._file: BinaryIO | None = None
        self._field = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """Name the methods as python-multipart wants them."""
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def close(self) -> None:
        """Close the file at which the body ended early."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _part_begin(self) -> None:
        if len(self.upload.files) + len(self.upload.fields) >= MAX_PARTS:
            raise invalid(f"There are more than {MAX_PARTS} parts.")
        self._disposition = b""
        self._field.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._check_header()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        if len(self._header) + len(self._value) > MAX_HEADER_BYTES:
            raise malformed(f"A part has a header of more than {MAX_HEADER_BYTES} bytes.")

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise malformed("A part has no name.")
        self._name = options[b"name"].decode("utf-8", errors="replace")
        if _HAS_FILENAME.search(self._disposition):
            self._open_file(options.get(b"filename", b""))
        elif self._name not in FIELDS or self._name in self.upload.fields:
            known = ", ".join(f"`{name}`" for name in FIELDS)
            raise invalid(f"A part without a file name is none of {known}, or is there twice.")

    def _open_file(self, filename: bytes) -> None:
        path = self._folder / f"upload_{len(self.upload.files):03d}"
        suffix = "".join(PurePosixPath(filename.decode("utf-8", errors="replace")).suffixes[-2:]).lower()
        self._file = path.open("xb")
        self.upload.files.append(FilePart(self._name, path, suffix))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])
            return
        self._field += data[start:end]
        if len(self._field) > MAX_FIELD_BYTES:
            raise invalid(f"The field `{self._name}` is longer than {MAX_FIELD_BYTES} bytes.")

    def _part_end(self) -> None:
        if self._file is None:
            self.upload.fields[self._name] = self._field.decode("utf-8", errors="replace")
        self.close()

    def _end(self) -> None:
        self.complete = True


def malformed(reason: str) -> ServiceProblem:
    """Refuse a body that cannot be parsed (400)."""
    return ServiceProblem(
        ServiceCode.REQUEST_MALFORMED, f"The body cannot be split into parts. {reason}", remedy=REMEDY
    )


def invalid(reason: str) -> ServiceProblem:
    """Refuse parts that mean nothing to the service (422)."""
    return ServiceProblem(ServiceCode.REQUEST_INVALID, reason, remedy=REMEDY)
