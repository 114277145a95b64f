"""multipart/related (RFC 2387): a body of DICOM files, taken apart without holding it in memory."""

from __future__ import annotations

import mmap
from email.message import Message
from typing import TYPE_CHECKING

from nnunet_losses.serve.errors import Code, Refusal

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_BOUNDARY = 70  # RFC 2046
MOST_PARTS = 20_000  # files of one series, as of one zip file


def boundary_of(content_type: str) -> bytes:
    """Boundary of a body.

    Raises:
        Refusal: ``dicomweb.refused``, it is no multipart/related body.

    Example:
        >>> boundary_of('multipart/related; type="application/dicom"; boundary="abc"')
        b'abc'
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/related" or not isinstance(boundary, str) or not boundary:
        raise _not_understood("The archive's answer is no multipart/related body.")
    if len(boundary) > LONGEST_BOUNDARY or not boundary.isascii():
        raise _not_understood("The archive's answer has an impossible boundary.")
    return boundary.encode()


def split_parts(body: Path, boundary: bytes, folder: Path) -> list[Path]:
    """Write each part of a body to a file of its own.

    Raises:
        Refusal: ``dicomweb.refused``, the body has no parts, or ends before its last boundary.
    """
    if body.stat().st_size == 0:
        raise _not_understood("The archive's answer is empty.")
    files: list[Path] = []
    with body.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        delimiter = b"--" + boundary
        begin = content.find(delimiter)
        while begin >= 0 and content[begin + len(delimiter) : begin + len(delimiter) + 2] != b"--":
            head_end = content.find(b"\r\n\r\n", begin)
            end = content.find(b"\r\n" + delimiter, begin + len(delimiter))
            if end < 0 or not begin <= head_end < end:
                raise _not_understood("The archive's answer ends in the middle.")
            if len(files) == MOST_PARTS:
                raise _too_many()
            files.append(folder / f"{len(files):06d}.dcm")
            with memoryview(content) as view, view[head_end + 4 : end] as part:
                files[-1].write_bytes(part)
            begin = end + 2
    if begin < 0 or not files:
        raise _not_understood("The archive's answer holds no files, or ends in the middle.")
    return files


def _too_many() -> Refusal:
    return Refusal(
        Code.INPUT_TOO_LARGE,
        f"The series has more than {MOST_PARTS:,} files.",
        remedy="Choose a smaller series.",
        expected={"files_at_most": MOST_PARTS},
    )


def _not_understood(detail: str) -> Refusal:
    return Refusal(Code.DICOMWEB_REFUSED, detail, remedy="Ask the archive's operator.")
