"""The header Range (RFC 9110, 14.2): what it may ask of a file, before any of the file is sent.

https://www.rfc-editor.org/rfc/rfc9110#section-14
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from starlette.requests import Request

_PIECE = r"(?:\d{1,18}-\d{0,18}|-\d{1,18})"
_FORM = re.compile(rf"\s*bytes\s*=\s*{_PIECE}(?:\s*,\s*{_PIECE}){{0,15}}\s*", re.IGNORECASE)


def settle_range(request: Request, *, size: int, tag: str) -> None:
    """Take a Range away that is to be ignored: of another unit, malformed, or meant for another file.

    Args:
        request: for the file.
        size: of the file, bytes.
        tag: of the file; where ``If-Range`` names another one, the whole file is wanted.

    Raises:
        ServiceProblem: the file has no such part (416).
    """
    header = request.headers.get("range")
    if header is None:
        return
    is_meant = request.headers.get("if-range", tag) == tag
    if not is_meant or _FORM.fullmatch(header) is None or not _runs_forwards(header):
        headers = request.scope["headers"]
        request.scope["headers"] = [(name, value) for name, value in headers if name != b"range"]
    elif not all(_begins_within(piece, size) for piece in _pieces(header)):
        raise ServiceProblem(
            ServiceCode.REQUEST_RANGE,
            f"The file has {size} bytes, and not all that were asked for are among them.",
            remedy="Ask for bytes from 0 on; the job's status says how many there are.",
            headers={"Content-Range": f"bytes */{size}"},
            expected=[0, size - 1],
        )


def _pieces(header: str) -> list[tuple[str, str]]:
    found = (piece.strip().partition("-") for piece in header.partition("=")[2].split(","))
    return [(first, last) for first, _, last in found]


def _runs_forwards(header: str) -> bool:
    return all(not first or not last or int(first) <= int(last) for first, last in _pieces(header))


def _begins_within(piece: tuple[str, str], size: int) -> bool:
    """Whether a range begins in the file; of a suffix, whether it has any length.

    Example:
        >>> _begins_within(("9", ""), 10), _begins_within(("10", ""), 10), _begins_within(("", "0"), 10)
        (True, False, False)
    """
    first, last = piece
    return int(first) < size if first else int(last) > 0 and size > 0
