"""What can go wrong between a client and the service, by what one can do about it.

ServiceError
    InputRefused    the request or a file cannot be used: mend it (4xx)
        Rejected    readable, but not what the model was made for; ``answer`` says so (422)
    Forbidden       the key is missing, wrong, or not good for this (401, 403)
    NotFound        no such model, job or file, or no longer (404)
    Busy            no room, or not ready: come again after ``retry_after`` seconds (429, 503)
    ServerFailed    the fault is the server's (5xx)
    Unreachable     no connection
    Damaged         what arrived is not what was recorded
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServiceError(Exception):
    """A problem document (RFC 9457) as an exception.

    Attributes:
        code: stable, for programs.
        detail, remedy: what was seen, and what to do.
        status: of HTTP; 0 where no answer came.
        request_id: to find the request in the server's log.
        retry_after: seconds after which trying again makes sense; None where it does not.
        members: the document's other members.

    Example:
        >>> str(ServiceError("queue.full", "64 jobs wait.", "Come later.", status=503))
        'queue.full: 64 jobs wait. Come later.'
    """

    def __init__(
        self,
        code: str,
        detail: str,
        remedy: str,
        *,
        status: int = 0,
        retry_after: float | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail} {remedy}".strip())
        self.code = code
        self.detail = detail
        self.remedy = remedy
        self.status = status
        self.retry_after = retry_after
        self.members = dict(members or {})

    @property
    def request_id(self) -> str | None:
        """Id under which the server's log has the request."""
        return self.members.get("instance")


class InputRefused(ServiceError):  # noqa: N818 - named by what happened, as in the other rooms
    """The request or a file cannot be used."""


class Rejected(InputRefused):
    """The image is not what the model was made for; ``answer`` is the statement about it."""

    @property
    def answer(self) -> dict[str, Any]:
        """The answer with the outcome ``rejected``."""
        answer: dict[str, Any] = self.members["answer"]
        return answer


class Forbidden(ServiceError):  # noqa: N818
    """The key is missing, wrong, or not good for this."""


class NotFound(ServiceError):  # noqa: N818
    """There is no such model, job or file."""


class Busy(ServiceError):  # noqa: N818
    """The server has no room, or is not ready."""


class ServerFailed(ServiceError):  # noqa: N818
    """The fault is the server's."""


class Unreachable(ServiceError):  # noqa: N818
    """There is no connection."""


class Damaged(ServiceError):  # noqa: N818
    """A file does not have the hash that the server recorded."""


_KINDS: Mapping[int, type[ServiceError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    429: Busy,
    503: Busy,
}


def error_of(document: Mapping[str, Any], *, status: int, retry_after: float | None = None) -> ServiceError:
    """Turn a problem document into the exception that fits it.

    Example:
        >>> type(error_of({"code": "model.unknown"}, status=404)).__name__
        'NotFound'
    """
    known = {"code", "detail", "remedy"}
    members = {name: value for name, value in document.items() if name not in known}
    by_class = ServerFailed if status >= 500 else InputRefused
    kind = Rejected if "answer" in members else _KINDS.get(status, by_class)
    code = str(document.get("code", f"http.{status}"))
    detail = str(document.get("detail", "The server gave no reason."))
    remedy = str(document.get("remedy", "Ask the operator of the server."))
    return kind(code, detail, remedy, status=status, retry_after=retry_after, members=members)
