"""Sees from outside that a worker is stuck in its job: code that never returns cannot be asked to stop."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..jobs.errors import JobRefusal
from ..logs import log_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..jobs.leases import LeaseDesk
    from ..jobs.records import Lease
    from .predictors import Changed

LOOK = 0.5  # seconds between two looks
GRACE = 5.0  # seconds for a worker to let go of a job that was taken away from it


@dataclass
class _Held:
    """The job that a worker has, on this process's clock."""

    lease: Lease
    since: float
    lost: float | None = None  # since when it is another's, or over


class Overseer:
    """Takes jobs away that are overdue, and ends a worker that does not let go.

    A worker that still runs Python stops at its next tile: its heartbeat tells it that the job is lost. One
    that is stuck in native code, or was stopped by a signal, hears nothing and is ended. Nothing is read as
    long as a job is younger than its lease.

    Args:
        desk: where leases are judged.
        end: ends the worker for good; another one is started by whoever watches over it.
        changed: told of the jobs that were taken away.
        monotonic: for tests.
    """

    def __init__(
        self,
        desk: LeaseDesk,
        *,
        end: Callable[[], None],
        changed: Changed,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._end = end
        self._changed = changed
        self._monotonic = monotonic
        self._held: _Held | None = None

    def heard(self, lease: Lease | None) -> None:
        """Note which job the worker has now; None for none."""
        self._held = None if lease is None else _Held(lease, self._monotonic())

    def look(self) -> None:
        """Act, if it is time. To be called every ``LOOK`` seconds."""
        held, now = self._held, self._monotonic()
        if held is None or now - held.since < self._first_look:
            return
        if held.lost is None and self._has_lost(held):
            held.lost = now
        if self._is_stuck(held, now) and self._held is held:
            self._held = None
            log_event("worker.stuck", level=logging.ERROR, job=held.lease.job_id)
            self._end()

    @property
    def _first_look(self) -> float:
        return min(self._desk.limits.lease_seconds, self._desk.limits.run_seconds)

    def _has_lost(self, held: _Held) -> bool:
        try:
            if self._desk.holds(held.lease):
                return False
            for job in self._desk.recover():
                self._changed(job.id)
        except JobRefusal:  # the database does not answer: the clock below decides
            return False
        return True

    def _is_stuck(self, held: _Held, now: float) -> bool:
        lost = held.since + self._desk.limits.run_seconds if held.lost is None else held.lost
        return now - lost >= GRACE
