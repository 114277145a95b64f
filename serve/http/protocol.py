"""HTTP/1.1 for clients that cannot be trusted with time: heads must arrive, and answers must be taken.

uvicorn itself bounds only the pause between requests, so a client could hold a connection with half a head,
or with an answer that it does not read, for ever (slow clients: CWE-400). What h11 refuses is answered in
the form of all other problems.
"""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .problems import MEDIA_TYPE, ProblemDocument, ServiceCode

if TYPE_CHECKING:
    import asyncio

    from .settings import Settings

_TOO_LARGE = 431
HEAD_LIMIT = 65536  # bytes of a head that h11 keeps before the gate sees and judges it


def patient_protocol(settings: Settings) -> type[H11Protocol]:
    """Make the protocol of one server, for ``uvicorn.Config(http=...)``."""
    return type("PatientProtocol", (_PatientProtocol,), {"settings": settings})


class _PatientProtocol(H11Protocol):
    settings: Settings
    _head_due: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        _stop(self._head_due)
        _stop(self._stalled)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.settings.send_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _stop(self._stalled)
        self._stalled = None

    def _watch_head(self) -> None:
        """While a head is awaited, its time runs; it does not begin anew with each byte."""
        if self.conn.their_state is not h11.IDLE:
            _stop(self._head_due)
            self._head_due = None
        elif self._head_due is None:
            self._head_due = self.loop.call_later(self.settings.header_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_due = None
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self.conn.their_state is not h11.IDLE or is_answering or self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:  # half a head: there is somebody to tell
            self._refuse(_late(self.settings.header_timeout))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        error = sys.exc_info()[1]  # uvicorn calls this where it has caught what h11 raised
        self._refuse(_unreadable(getattr(error, "error_status_hint", 400)))
        self.transport.close()

    def _refuse(self, document: ProblemDocument) -> None:
        request_id = str(uuid.uuid4())
        response = document.response(request_id=request_id)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(response.body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        events = (
            h11.Response(status_code=response.status_code, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        )
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))


def _late(seconds: float) -> ProblemDocument:
    return ProblemDocument(
        ServiceCode.REQUEST_TIMEOUT,
        f"The request's head was not complete after {seconds:g} s.",
        remedy="Send it over a faster connection.",
    )


def _unreadable(status: int) -> ProblemDocument:
    if status == _TOO_LARGE:
        return ProblemDocument(
            ServiceCode.REQUEST_HEADERS_TOO_LARGE,
            f"The request's head is larger than {HEAD_LIMIT} bytes.",
            remedy="Send fewer or shorter headers.",
        )
    return ProblemDocument(
        ServiceCode.REQUEST_HTTP,
        "The request does not follow RFC 9112.",
        remedy="Speak HTTP/1.1, one Content-Length or chunks, and only visible characters in headers.",
    )


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
