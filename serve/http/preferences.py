"""Headers that say how a client wants a job: Prefer (RFC 7240), Idempotency-Key, Last-Event-ID."""

from __future__ import annotations

import re

from .problems import ServiceCode, ServiceProblem

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=[,;]|$)", re.IGNORECASE)
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def preferred_wait(prefer: str | None) -> int | None:
    """Seconds that a client is ready to wait; None where it does not say. What is no number is ignored.

    Example:
        >>> preferred_wait("respond-async, wait=10"), preferred_wait("wait=soon"), preferred_wait(None)
        (10, None, None)
    """
    found = _WAIT.search(prefer or "")
    return None if found is None else int(found.group(1))


def idempotency_key(header: str | None) -> str | None:
    """Check the client's name for its request.

    Raises:
        ServiceProblem: it cannot be one (422).
    """
    if header is None or _KEY.fullmatch(header):
        return header
    raise ServiceProblem(
        ServiceCode.REQUEST_INVALID,
        "The header Idempotency-Key is not 1 to 255 printable ASCII characters.",
        remedy="Use a new random UUID for each new request.",
    )


def last_event_id(header: str | None) -> int:
    """Number of the last event that a client has; 0 for none.

    Raises:
        ServiceProblem: it is no number (422).
    """
    if not header:
        return 0
    if re.fullmatch(r"[0-9]{1,9}", header):
        return int(header)
    raise ServiceProblem(
        ServiceCode.REQUEST_INVALID,
        "The header Last-Event-ID is no number of an event.",
        remedy="Send the id of the last event that arrived, or nothing.",
    )
