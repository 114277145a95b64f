"""WADO-RS (fetch a series) and STOW-RS (store results), DICOM PS3.18."""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from nnunet_losses.serve.errors import Code, Refusal

from .related import boundary_of, split_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .origins import Origins, Place

_UID = re.compile(r"[0-9.]{1,64}")
_CHUNK = 1 << 20
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@dataclass(frozen=True)
class Budget:
    """What talking to an archive may cost.

    Args:
        bytes_received: of one series.
        seconds: for connecting, and for each pause between bytes.
    """

    bytes_received: int = 8 * 2**30
    seconds: float = 30.0


class Archive:
    """One archive on the operator's list.

    Args:
        url: as the list has it.
        origins: the list.
        budget: see ``Budget``.
        headers: for the archive alone, such as ``Authorization``.

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
    ) -> None:
        self._place: Place = origins.check(url)
        self._budget = budget
        self._headers = dict(headers or {})

    def fetch_series(self, study: str, series: str, folder: Path) -> list[Path]:
        """Fetch a series into an empty folder, under names of our own.

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
                self._receive(response, body)
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
            response.read()
            failed = _failures(response)
        if failed:
            raise _refused(f"The archive did not take {failed} of {len(files)} objects.", observed=failed)

    def _receive(self, response: Any, target: Path) -> None:
        received = 0
        with target.open("wb") as file:
            for chunk in response.iter_bytes(_CHUNK):
                received += len(chunk)
                if received > self._budget.bytes_received:
                    raise Refusal(
                        Code.INPUT_TOO_LARGE,
                        f"The series is larger than {self._budget.bytes_received:,} bytes.",
                        remedy="Choose a smaller series, or let the operator raise the limit.",
                        expected={"bytes_at_most": self._budget.bytes_received},
                    )
                file.write(chunk)

    @contextmanager
    def _request(self, method: str, path: str, headers: dict[str, str], **body: Any) -> Iterator[Any]:
        """Ask the archive; follow no redirection, use no proxy, tell nobody its answer's text."""
        httpx = _httpx()
        place = self._place
        sent = {**self._headers, **headers, "Host": place.host}
        try:
            with (
                httpx.Client(timeout=self._budget.seconds, follow_redirects=False, trust_env=False) as client,
                client.stream(
                    method,
                    place.url + path,
                    headers=sent,
                    extensions={"sni_hostname": place.name},
                    **body,
                ) as response,
            ):
                if response.status_code not in (200, 202):
                    detail = f"The archive answered with status {response.status_code}."
                    raise _refused(detail, observed=response.status_code)
                yield response
        except httpx.HTTPError as error:
            raise Refusal(
                Code.DICOMWEB_UNREACHABLE,
                "The archive did not answer in time, or broke off.",
                remedy="Check that it runs, and try again.",
                observed=type(error).__name__,
            ) from error


def _httpx() -> Any:
    from nnunet_losses.serve.outputs.installed import import_library  # noqa: PLC0415

    return import_library("httpx", "dicom")


def _check_uid(uid: str) -> None:
    if _UID.fullmatch(uid) is None:
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


def _failures(response: Any) -> int:
    """Count the objects in the answer's FailedSOPSequence (0008,1198)."""
    if "json" in response.headers.get("content-type", ""):
        try:
            content = response.json()
            found = content[0] if isinstance(content, list) else content
            return len(found.get("00081198", {}).get("Value", []))
        except (ValueError, AttributeError, IndexError, TypeError) as error:
            raise _refused("The archive's answer cannot be understood.") from error
    if b"<!DOCTYPE" in response.content or b"<!ENTITY" in response.content:
        raise _refused("The archive's answer cannot be understood.")
    try:
        root = ET.fromstring(response.content)  # noqa: S314 - no entities, see above
    except ET.ParseError as error:
        raise _refused("The archive's answer cannot be understood.") from error
    failed = [entry for entry in root if entry.get("tag") == "00081198"]
    return sum(len(entry) for entry in failed)


def _refused(detail: str, *, observed: Any = None) -> Refusal:
    return Refusal(Code.DICOMWEB_REFUSED, detail, remedy="Ask the archive's operator.", observed=observed)
