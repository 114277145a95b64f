"""Which representation a client asks for (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from typing import Literal

from .problems import ServiceCode, ServiceProblem

Representation = Literal["multipart/mixed", "application/json"]
_OFFERED: tuple[Representation, ...] = ("multipart/mixed", "application/json")  # the first wins a tie


def negotiate(accept: str | None) -> Representation:
    """Choose between answer with mask and answer alone.

    Raises:
        ServiceProblem: neither is acceptable (406).

    Example:
        >>> negotiate(None), negotiate("*/*"), negotiate("application/json")
        ('multipart/mixed', 'multipart/mixed', 'application/json')
    """
    ranges = _ranges(accept or "*/*")
    best = max(_OFFERED, key=lambda offered: _quality(offered, ranges))
    if _quality(best, ranges) > 0:
        return best
    raise ServiceProblem(
        ServiceCode.REQUEST_NOT_ACCEPTABLE,
        "The Accept header allows neither multipart/mixed nor application/json.",
        remedy="Ask for multipart/mixed (answer and mask) or application/json (answer alone).",
    )


def _ranges(accept: str) -> dict[str, float]:
    found = {}
    for entry in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in entry.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        found[kind] = _number(quality)
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # a quality that is no number asks for nothing
        return 0.0


def _quality(offered: str, ranges: dict[str, float]) -> float:
    """Quality of the most specific range that covers the media type."""
    whole_type = offered.partition("/")[0] + "/*"
    return next((ranges[kind] for kind in (offered, whole_type, "*/*") if kind in ranges), 0.0)
