"""Which archives may be talked to, and at which addresses.

A name is resolved once, its addresses are checked, and the connection goes to the checked address: a name
server that answers otherwise a moment later changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nnunet_losses.serve.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Resolve = Callable[[str, int], Sequence[str]]

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Place:
    """Where a request goes.

    Attributes:
        url: of the archive, with the checked address instead of the name.
        host: the name, for the Host header and the certificate.
    """

    url: str
    host: str
    name: str


@dataclass(frozen=True)
class Origins:
    """The operator's list of archives: none by default.

    Args:
        allowed: addresses of DICOMweb services, such as ``https://pacs.example.org/dicom-web``.
        resolve: gives the addresses of a name.

    Example:
        >>> Origins(("https://pacs.example.org/dicom-web",)).check("http://169.254.169.254/latest")
        Traceback (most recent call last):
        nnunet_losses.serve.errors.Refusal: This archive is not on the list. Let the operator add it.
    """

    allowed: tuple[str, ...] = ()
    resolve: Resolve = lambda host, port: addresses(host, port)  # noqa: PLW0108 - defined below

    def check(self, url: str) -> Place:
        """Find out where an archive is.

        Raises:
            Refusal: ``dicomweb.not_allowed``, it is not on the list, or its address is none for an archive;
                ``dicomweb.unreachable``, its name has no address.
        """
        wanted = url.rstrip("/")
        if wanted not in {known.rstrip("/") for known in self.allowed}:
            raise _not_allowed("This archive is not on the list.")
        parts = urlsplit(wanted)
        if (
            parts.scheme not in _PORTS
            or parts.hostname is None
            or parts.username
            or parts.query
            or parts.fragment
        ):
            raise _not_allowed("This is no address of an archive.")
        port = parts.port or _PORTS[parts.scheme]
        address = self._address(parts.hostname, port)
        netloc = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return Place(f"{parts.scheme}://{netloc}{parts.path}", parts.netloc, parts.hostname)

    def _address(self, host: str, port: int) -> str:
        try:
            found = self.resolve(host, port)
        except OSError:
            found = ()
        if not found:
            raise Refusal(
                Code.DICOMWEB_UNREACHABLE,
                "The archive's name has no address.",
                remedy="Check the name and the name server.",
            )
        for address in found:
            _check_address(host, address)
        return found[0]


def addresses(host: str, port: int) -> list[str]:
    """Addresses of a name, as the system resolves it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _check_address(host: str, text: str) -> None:
    """Refuse addresses that no archive has; the own machine's only where the list names it as such."""
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    is_own = address.is_loopback and not _means_loopback(host)
    if is_own or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise _not_allowed("The archive's name leads to an address that is none of an archive.")


def _means_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _not_allowed(detail: str) -> Refusal:
    return Refusal(Code.DICOMWEB_NOT_ALLOWED, detail, remedy="Let the operator add it.")
