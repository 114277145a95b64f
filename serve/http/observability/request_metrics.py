"""What this server's own requests add to the figures."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600)
_FAILED = 400


class RequestMetrics:
    """Counters of one server, in a registry of their own.

    Labels are methods, templates of routes, statuses and codes: a fixed set of words, none of a client's.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "nnunet_losses_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "nnunet_losses_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "nnunet_losses_http_requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self._rejected = Counter(
            "nnunet_losses_uploads_rejected",
            "Uploads that were turned away.",
            ["code"],
            registry=self.registry,
        )

    def observe(
        self, *, method: str, route: str | None, status: int | None, seconds: float, code: str | None
    ) -> None:
        """Count one request.

        Args:
            method: of HTTP; anything that is none counts as ``other``.
            route: template; None for an address without one.
            status: of the answer; None where the client was gone before.
            seconds: how long it took.
            code: of the problem, if it was one.
        """
        known = method if method in _METHODS else "other"
        address = route or "unmatched"
        self._requests.labels(known, address, str(status or "none")).inc()
        self._seconds.labels(known, address).observe(seconds)
        if method == "POST" and code is not None and (status is None or status >= _FAILED):
            self._rejected.labels(code).inc()
