"""Read multipart/form-data as it arrives: files to generated names in a folder, limits kept while reading."""

from __future__ import annotations

import errno
import re
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

import anyio
from anyio.to_thread import run_sync
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from nnunet_losses.serve.errors import Code

from .problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from python_multipart.multipart import MultipartCallbacks
    from starlette.requests import Request

    from .settings import Settings

MAX_PARTS = 128
MAX_FIELD_BYTES = 1024
FIELDS = ("model", "case")

_HAS_FILENAME = re.compile(rb";\s*filename\*?\s*=", re.IGNORECASE)
_CURL = "Send images as files, for example curl -F 'MRI=@image.nii.gz', with the @."


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


async def receive_upload(request: Request, folder: Path, settings: Settings) -> Upload:
    """Read a request's body into ``folder``.

    File names of the client are never used, nor kept. Parsing and writing happen in a thread, one chunk at a
    time, so that a slow disk does not stop the other requests.

    Args:
        request: its body must not have been read.
        folder: empty; the caller removes it.
        settings: ``max_body_bytes`` of the whole body, whether or not its length was declared, and
            ``upload_timeout``, the seconds until its last byte must have arrived.

    Raises:
        ServiceProblem: too large (413), too slow (408), not multipart (415), malformed (400), invalid (422).
        starlette.requests.ClientDisconnect: the client went away.
    """
    writer = _PartWriter(folder)
    parser = _parser(request, writer)
    try:
        with anyio.fail_after(settings.upload_timeout):
            async with aclosing(_limited(request, settings.max_body_bytes)) as chunks:
                async for chunk in chunks:
                    await run_sync(parser.write, chunk)
    except TimeoutError:
        raise _too_slow(settings.upload_timeout) from None
    except FormParserError:
        raise _malformed("It does not follow RFC 7578.") from None
    except OSError as error:
        raise _storage_problem(error) from error
    finally:
        writer.close()
    if not writer.complete:
        raise _malformed("It ends before its closing boundary.")
    return writer.upload


def _parser(request: Request, writer: _PartWriter) -> MultipartParser:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise ServiceProblem(
            ServiceCode.REQUEST_MEDIA_TYPE,
            "The Content-Type is not multipart/form-data.",
            remedy=_CURL,
            headers={"Accept": "multipart/form-data"},
        )
    try:
        return MultipartParser(options[b"boundary"], writer.callbacks())
    except (KeyError, FormParserError):
        raise _malformed("The Content-Type names no usable boundary.") from None


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes]:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


class _PartWriter:
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
            "on_part_begin": self.part_begin,
            "on_header_field": self.header_field,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_part_data": self.part_data,
            "on_part_end": self.part_end,
            "on_end": self.end,
        }

    def close(self) -> None:
        """Close the file at which the body ended early."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def part_begin(self) -> None:
        if len(self.upload.files) + len(self.upload.fields) >= MAX_PARTS:
            raise _invalid(f"There are more than {MAX_PARTS} parts.")
        self._disposition = b""
        self._field.clear()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _malformed("A part has no name.")
        self._name = options[b"name"].decode("utf-8", errors="replace")
        if _HAS_FILENAME.search(self._disposition):
            self._open_file(options.get(b"filename", b""))
        elif self._name not in FIELDS or self._name in self.upload.fields:
            raise _invalid("A part without a file name is neither `model` nor `case`, or is there twice.")

    def _open_file(self, filename: bytes) -> None:
        path = self._folder / f"upload_{len(self.upload.files):03d}"
        suffix = "".join(PurePosixPath(filename.decode("utf-8", errors="replace")).suffixes[-2:]).lower()
        self._file = path.open("xb")
        self.upload.files.append(FilePart(self._name, path, suffix))

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])
            return
        self._field += data[start:end]
        if len(self._field) > MAX_FIELD_BYTES:
            raise _invalid(f"The field `{self._name}` is longer than {MAX_FIELD_BYTES} bytes.")

    def part_end(self) -> None:
        if self._file is None:
            self.upload.fields[self._name] = self._field.decode("utf-8", errors="replace")
        self.close()

    def end(self) -> None:
        self.complete = True


def _too_large(max_bytes: int) -> ServiceProblem:
    return ServiceProblem(
        Code.INPUT_TOO_LARGE,
        f"The request is larger than {max_bytes} bytes.",
        remedy="Send a smaller or compressed image, or ask the operator to raise the limit (--max-body-mb).",
        expected=max_bytes,
    )


def _too_slow(seconds: float) -> ServiceProblem:
    return ServiceProblem(
        ServiceCode.REQUEST_TIMEOUT,
        f"The body was not complete after {seconds:g} s.",
        remedy="Send it over a faster connection, or compressed.",
    )


def _malformed(reason: str) -> ServiceProblem:
    return ServiceProblem(
        ServiceCode.REQUEST_MALFORMED, f"The body cannot be split into parts. {reason}", remedy=_CURL
    )


def _invalid(reason: str) -> ServiceProblem:
    return ServiceProblem(ServiceCode.REQUEST_INVALID, reason, remedy=_CURL)


def _storage_problem(error: OSError) -> Exception:
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return error
    return ServiceProblem(
        ServiceCode.SERVICE_STORAGE_FULL,
        "The server's disk has no room for the upload.",
        remedy="Tell the operator; try again later.",
    )
