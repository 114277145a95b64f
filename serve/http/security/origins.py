"""Requests that a browser was tricked into: by another site, or by a name that leads here (DNS rebinding).

The service knows no cookies, so a stranger's page has no rights to borrow where callers authenticate. Where
they do not, such as on this machine, it could still make work, or read answers under a name of its own.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..problems import ServiceCode, ServiceProblem
from .access import SAFE

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from .settings import SecuritySettings

_ONLY_OURS = {"localhost"}


def check_host(headers: Headers, settings: SecuritySettings) -> None:
    """Refuse a Host header that names another machine.

    Addresses and ``localhost`` cannot be rebound, and are always ours. Other names must be among
    ``allowed_hosts``; if there are none, any is taken where callers authenticate themselves.

    Raises:
        ServiceProblem: it does (421).
    """
    if settings.is_authenticated and not settings.allowed_hosts:
        return
    allowed = {*_ONLY_OURS, *settings.allowed_hosts, settings.host.lower()}
    for value in headers.getlist("host"):  # no browser leaves it out
        name = host_name(value)
        if name not in allowed and not _is_address(name):
            raise ServiceProblem(
                ServiceCode.REQUEST_HOST,
                "The Host header names another machine.",
                remedy="Use the service's address, or let the operator name the host in "
                "NNUNET_LOSSES_ALLOWED_HOSTS.",
            )


def check_origin(method: str, headers: Headers, settings: SecuritySettings) -> None:
    """Refuse a request that changes something and comes from another site's page.

    Browsers say so in Sec-Fetch-Site, older ones in Origin; other programs send neither.

    Raises:
        ServiceProblem: it does (403).
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if method in SAFE or (origin is not None and origin.lower() in settings.cors_origins):
        return
    if site in {"same-origin", "none"} or (site is None and origin is None):
        return
    if (
        site is None
        and origin is not None
        and urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    ):
        return
    raise ServiceProblem(
        ServiceCode.REQUEST_ORIGIN,
        "A page of another site sent this request.",
        remedy="Let the operator add the site to NNUNET_LOSSES_CORS_ORIGINS, if it is trusted.",
    )


def host_name(value: str) -> str:
    """Take the port off a Host header.

    Example:
        >>> host_name("Localhost:8000"), host_name("[::1]:8000"), host_name("10.0.0.7")
        ('localhost', '::1', '10.0.0.7')
    """
    value = value.strip().lower()
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0].removesuffix(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
