"""One request, and its repetitions where they can help."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from .errors import ServiceError, Unreachable, error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
_GATEWAYS = frozenset({502, 504})  # something before the server did not reach it


class Transport:
    """Sends requests to one server, again where that is safe and makes sense.

    Args:
        url: address of the server, with the path under which it lies behind a proxy, if any.
        api_key: sent to this server only.
        patience: seconds for which a request is repeated: without a connection, or when told to come again.
        timeout: seconds without a byte after which a connection counts as lost.
        transport: stands in for the network.

    Raises:
        ValueError: the address or the key cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        patience: float,
        timeout: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        _check(url, api_key)
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/", headers=headers, timeout=timeout, transport=transport
        )
        self._patience = patience

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Send a request until it is answered; its JSON.

        Args:
            method: safe to repeat: GET, DELETE, or POST with an idempotency key.
            path: relative to the server's address.
            options: of ``httpx.Client.request``; a function ``files`` is called for each attempt.

        Raises:
            ServiceError: see ``errors``.
        """
        return self.repeated(lambda: self._json(method, path, **options))

    def repeated(self, attempt: Callable[[], T]) -> T:
        """Do something until it works, fails for good, or patience ends."""
        end, pause = time.monotonic() + self._patience, FIRST_PAUSE
        while True:
            try:
                return attempt()
            except ServiceError as error:
                wait = _advised(error, pause)
                if wait is None or time.monotonic() + wait > end:
                    raise
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx.Response]:
        """Open an answer to be read piece by piece. What breaks it is ``Unreachable``."""
        try:
            with self._http.stream("GET", _relative(path), **options) as response:
                if response.is_error:
                    response.read()
                yield _checked(response)
        except httpx.TransportError as error:
            raise _unreachable(self._http.base_url, error) from error

    def _json(self, method: str, path: str, *, files: Callable[[], Any] | None = None, **options: Any) -> Any:
        try:
            sent = None if files is None else files()
            response = self._http.request(method, _relative(path), files=sent, **options)
        except httpx.TransportError as error:
            raise _unreachable(self._http.base_url, error) from error
        return _checked(response).json()


def _check(url: str, api_key: str | None) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is not a server's address. Write it like http://127.0.0.1:8000.")
    if api_key is not None and not re.fullmatch(r"[\x21-\x7e]+", api_key):
        raise ValueError("the API key is empty, or has signs that no key has. Give it alone, in one line.")


def _relative(path: str) -> str:
    """Addresses in answers begin with a slash, wherever a proxy put the service."""
    return path.lstrip("/")


def _checked(response: httpx.Response) -> httpx.Response:
    if not response.is_error:
        return response
    try:
        document = response.json()
    except ValueError:  # not the service's
        document = {}
    document = document if isinstance(document, dict) else {}
    raise error_of(document, status=response.status_code, retry_after=_seconds(response.headers))


def _seconds(headers: httpx.Headers) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _advised(error: ServiceError, pause: float) -> float | None:
    """Seconds until the next attempt; None if there is no use in one."""
    if error.retry_after is not None:
        return max(error.retry_after, pause)
    return pause if isinstance(error, Unreachable) or error.status in _GATEWAYS else None


def _unreachable(url: httpx.URL, error: Exception) -> Unreachable:
    return Unreachable(
        "client.unreachable",
        f"{url} does not answer ({type(error).__name__}).",
        "See whether the server runs, and whether the address is right.",
    )
