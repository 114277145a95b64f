"""How much of the server one caller may use at once, and in a minute."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .settings import SecuritySettings

_MINUTE = 60.0
_REMEMBERED = 4096  # callers; who asked for nothing in a minute is forgotten first


@dataclass
class _Allowance:
    """A bucket that fills with time: https://en.wikipedia.org/wiki/Token_bucket."""

    left: float
    updated: float


class Quotas:
    """Counts requests of one server. To be used in the event loop only.

    Args:
        settings: ``max_requests``, ``max_requests_per_caller``, ``requests_per_minute``.
        retry_after: seconds after which who was refused may come again.
        monotonic: seconds; for tests.
    """

    def __init__(
        self, settings: SecuritySettings, *, retry_after: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._retry_after = retry_after
        self._monotonic = monotonic
        self._total = 0
        self._by_caller: Counter[str] = Counter()
        self._allowances: dict[str, _Allowance] = {}

    @property
    def in_flight(self) -> int:
        """Requests that are being answered."""
        return self._total

    @contextmanager
    def any_request(self) -> Iterator[None]:
        """Hold a place for a request of whatever kind.

        Raises:
            ServiceProblem: too many are being answered (503).
        """
        if self._total >= self._settings.max_requests:
            raise ServiceProblem(
                ServiceCode.SERVICE_BUSY,
                "As many requests as the server takes are being answered.",
                remedy=f"Send the request again in {self._retry_after} s.",
                headers={"Retry-After": str(self._retry_after)},
            )
        self._total += 1
        try:
            yield
        finally:
            self._total -= 1

    @contextmanager
    def change_of(self, caller: str) -> Iterator[None]:
        """Hold a place for one of the caller's requests that change something.

        Raises:
            ServiceProblem: the caller has too many of them, or has sent too many in a minute (429).
        """
        if self._by_caller[caller] >= self._settings.max_requests_per_caller:
            raise self._refused(
                f"{self._by_caller[caller]} requests of this caller are being answered, at most "
                f"{self._settings.max_requests_per_caller} may be.",
                seconds=self._retry_after,
            )
        self._take(caller)
        self._by_caller[caller] += 1
        try:
            yield
        finally:
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]

    def _take(self, caller: str) -> None:
        most = self._settings.requests_per_minute
        if most is None:
            return
        now = self._monotonic()
        self._forget(now)
        known = self._allowances.pop(caller, _Allowance(float(most), now))
        left = min(float(most), known.left + (now - known.updated) * most / _MINUTE)
        self._allowances[caller] = _Allowance(max(left - 1, 0) if left >= 1 else left, now)
        if left < 1:
            raise self._refused(
                f"This caller has sent more than {most} requests in a minute.",
                seconds=math.ceil((1 - left) * _MINUTE / most),
            )

    def _forget(self, now: float) -> None:
        """The oldest come first; a bucket that was left alone for a minute is full again."""
        while self._allowances:
            caller = next(iter(self._allowances))
            is_full = now - self._allowances[caller].updated >= _MINUTE
            if not is_full and len(self._allowances) < _REMEMBERED:
                return
            del self._allowances[caller]

    def _refused(self, detail: str, *, seconds: int) -> ServiceProblem:
        return ServiceProblem(
            ServiceCode.REQUEST_QUOTA,
            detail,
            remedy=f"Wait for answers, and send the request again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )
