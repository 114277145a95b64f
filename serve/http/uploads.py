"""Read multipart/form-data as it arrives: files to generated names in a folder, limits kept while reading."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from nnunet_losses.serve.errors import Code

from .parts import REMEDY, PartWriter, malformed
from .problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from starlette.requests import Request

    from .parts import Upload
    from .settings import Settings


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
    writer = PartWriter(folder)
    parser = _parser(request, writer)
    try:
        with anyio.fail_after(settings.upload_timeout):
            async with aclosing(limited(request, settings.max_body_bytes)) as chunks:
                async for chunk in chunks:
                    await run_sync(parser.write, chunk)
    except TimeoutError:
        raise too_slow(settings.upload_timeout) from None
    except FormParserError:
        raise malformed("It does not follow RFC 7578.") from None
    finally:
        writer.close()
    if not writer.complete:
        raise malformed("It ends before its closing boundary.")
    return writer.upload


def _parser(request: Request, writer: PartWriter) -> MultipartParser:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise ServiceProblem(
            ServiceCode.REQUEST_MEDIA_TYPE,
            "The Content-Type is neither multipart/form-data nor, for series in an archive, JSON.",
            remedy=REMEDY,
            headers={"Accept": "multipart/form-data, application/json"},
        )
    try:
        return MultipartParser(options[b"boundary"], writer.callbacks())
    except (KeyError, FormParserError):
        raise malformed("The Content-Type names no usable boundary.") from None


async def limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes]:
    """Give a body's chunks.

    Raises:
        ServiceProblem: there is more than was declared to be enough (413).
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> ServiceProblem:
    return ServiceProblem(
        Code.INPUT_TOO_LARGE,
        f"The request is larger than {max_bytes} bytes.",
        remedy="Send a smaller or compressed image, or ask the operator to raise the limit (--max-body-mb).",
        expected=max_bytes,
    )


def too_slow(seconds: float) -> ServiceProblem:
    """Refuse a body that did not arrive in time (408)."""
    return ServiceProblem(
        ServiceCode.REQUEST_TIMEOUT,
        f"The body was not complete after {seconds:g} s.",
        remedy="Send it over a faster connection, or compressed.",
    )
