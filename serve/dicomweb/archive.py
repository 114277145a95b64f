"""WADO-RS (fetch a series) and STOW-RS (store results), DICOM PS3.18."""

from __future__ import annotations

import json
import secrets
import ssl
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from nnunet_losses.serve.errors import Code, Refusal

from .related import boundary_of, split_parts
from .source import is_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .origins import Origins, Place

_CHUNK = 1 << 20
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
LARGEST_REPLY = 16 << 20  # to what was stored: some hundred bytes for each object
OK = frozenset({200, 202})
NOT_FOUND = frozenset({204, 404, 410})
FAILURES = ("00081198", "0008119A")  # FailedSOPSequence, OtherFailuresSequence
NOT_NOW = frozenset({408, 425, 429, 502, 503, 504})


@dataclass(frozen=True)
class Budget:
    """What talking to an archive may cost.

    Args:
        bytes_received: of one series.
        seconds: for connecting, and for each pause between bytes.
        seconds_in_all: until the last byte of a series must have arrived; None: no bound.
    """

    bytes_received: int = 8 * 2**30
    seconds: float = 30.0
    seconds_in_all: float | None = None


class Archive:
    """One archive on the operator's list.

    Args:
        url: as the list has it.
        origins: the list.
        budget: see ``Budget``.
        headers: for the archive alone, such as ``Authorization``.
        authorities: PEM file of who may have signed its certificate; None takes the usual ones.

    Raises:
        Refusal: ``dicomweb.not_allowed``, ``dicomweb.unreachable``.
    """

    def __init__(
        self,
        url: str,
        origins: Origins,
        *,
        budget: Budget = Budget(),
        headers: dict[str, str] | None = None,
        authorities: Path | None = None,
    ) -> None:
        self._place: Place = origins.check(url)
        self._budget = budget
        self._headers = dict(headers or {})
        self._verify = True if authorities is None else _trusting(authorities)

    def fetch_series(
        self, study: str, series: str, folder: Path, *, check: Callable[[], None] = lambda: None
    ) -> list[Path]:
        """Fetch a series into an empty folder, under names of our own.

        Args:
            study: StudyInstanceUID.
            series: SeriesInstanceUID.
            folder: where to.
            check: called now and then; may raise to end it.

        Raises:
            Refusal: ``dicomweb.*``; ``input.too_large``, there is more than the budget allows.
        """
        for uid in (study, series):
            _check_uid(uid)
        path = f"/studies/{study}/series/{series}"
        body = folder / ".body"
        try:
            with self._request("GET", path, {"Accept": ACCEPT}) as response:
                boundary = boundary_of(response.headers.get("content-type", ""))
                self._receive(response, body, check)
            return split_parts(body, boundary, folder)
        finally:
            body.unlink(missing_ok=True)

    def store(self, files: Sequence[Path]) -> None:
        """Store objects.

        Raises:
            Refusal: ``dicomweb.refused``, the archive did not take all of them.
        """
        boundary = secrets.token_hex(16)
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json, application/dicom+xml;q=0.5"}
        content = _joined(files, boundary)
        with self._request("POST", "/studies", headers, content=content) as response:
            failed = _failures(response.headers.get("content-type", ""), _content(response))
        if failed:
            raise _refused(f"The archive did not take {failed} of {len(files)} objects.", observed=failed)

    def _receive(self, response: Any, target: Path, check: Callable[[], None]) -> None:
        received, seconds = 0, self._budget.seconds_in_all
        end = None if seconds is None else time.monotonic() + seconds
        with target.open("wb") as file:
            for chunk in response.iter_bytes():  # as they come: larger ones would be waited for
                check()
                received += len(chunk)
                if received > self._budget.bytes_received:
                    raise too_large(self._budget.bytes_received)
                if end is not None and time.monotonic() > end:
                    raise _unreachable(f"The series was not complete after {seconds:g} s.")
                file.write(chunk)

    @contextmanager
    def _request(self, method: str, path: str, headers: dict[str, str], **body: Any) -> Iterator[Any]:
        """Ask the archive; follow no redirection, use no proxy, tell nobody its answer's text."""
        httpx = _httpx()
        place = self._place
        sent = {**self._headers, **headers, "Host": place.host}
        options = {"timeout": self._budget.seconds, "follow_redirects": False, "trust_env": False}
        try:
            with (
                httpx.Client(verify=self._verify, **options) as client,
                client.stream(
                    method,
                    place.url + path,
                    headers=sent,
                    extensions={"sni_hostname": place.name},
                    **body,
                ) as response,
            ):
                _check_status(response.status_code, is_search=method == "GET")
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            detail = "The archive did not answer in time, or broke off."
            raise _unreachable(detail, observed=type(error).__name__) from error


def _check_status(status: int, *, is_search: bool) -> None:
    """Refuse an answer that is not what was asked for; redirections are among those."""
    if status in OK:
        return
    if is_search and status in NOT_FOUND:
        raise Refusal(
            Code.DICOMWEB_NOT_FOUND,
            "The archive has no such study and series.",
            remedy="Send StudyInstanceUID and SeriesInstanceUID as the archive has them.",
            observed=status,
        )
    detail = f"The archive answered with status {status}."
    raise _unreachable(detail, observed=status) if status in NOT_NOW else _refused(detail, observed=status)


def _trusting(authorities: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:  # ssl.SSLError is one
        raise Refusal(
            Code.DICOMWEB_REFUSED,
            "The file of certificate authorities cannot be read.",
            remedy="Let the operator name a PEM file in NNUNET_LOSSES_DICOMWEB_CA and start anew.",
        ) from error


def _httpx() -> Any:
    from nnunet_losses.serve.outputs.installed import import_library  # noqa: PLC0415

    return import_library("httpx", "dicom")


def _check_uid(uid: str) -> None:
    if not is_uid(uid):
        raise Refusal(
            Code.DICOMWEB_REFUSED,
            "A UID holds other characters than digits and points, or more than 64.",
            remedy="Send StudyInstanceUID and SeriesInstanceUID.",
        )


def _joined(files: Sequence[Path], boundary: str) -> Iterator[bytes]:
    for file in files:
        yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                yield chunk
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _content(response: Any) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > LARGEST_REPLY:
            raise _refused("The archive's answer is longer than any answer is.")
    return bytes(content)


def _failures(kind: str, content: bytes) -> int:
    """Count the objects in the answer's FailedSOPSequence and OtherFailuresSequence."""
    if "json" in kind:
        try:
            answer = json.loads(content)
            found = answer[0] if isinstance(answer, list) else answer
            return sum(len(found.get(tag, {}).get("Value", [])) for tag in FAILURES)
        except (ValueError, AttributeError, IndexError, TypeError) as error:
            raise _refused("The archive's answer cannot be understood.") from error
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise _refused("The archive's answer cannot be understood.")
    try:
        root = ET.fromstring(content)  # noqa: S314 - no entities, see above
    except ET.ParseError as error:
        raise _refused("The archive's answer cannot be understood.") from error
    failed = [entry for entry in root if entry.get("tag") in FAILURES]
    return sum(len(entry) for entry in failed)


def too_large(most: int) -> Refusal:
    """Refuse a series, or several, of more bytes than may be received."""
    return Refusal(
        Code.INPUT_TOO_LARGE,
        f"The series is larger than {most:,} bytes.",
        remedy="Choose a smaller series, or let the operator raise the limit.",
        expected={"bytes_at_most": most},
    )


def _refused(detail: str, *, observed: Any = None) -> Refusal:
    return Refusal(Code.DICOMWEB_REFUSED, detail, remedy="Ask the archive's operator.", observed=observed)


def _unreachable(detail: str, *, observed: Any = None) -> Refusal:
    remedy = "Check that it runs, and try again."
    return Refusal(Code.DICOMWEB_UNREACHABLE, detail, remedy=remedy, observed=observed)
