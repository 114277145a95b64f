"""One attempt at a job, as the code that does the work sees it."""

from __future__ import annotations

import re
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from .errors import JobCode, JobRefusal
from .records import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from .artifacts import Staging
    from .leases import LeaseDesk
    from .records import Claim, Job

_STAGE = re.compile(r"[a-z][a-z0-9_]{0,31}")


class Interruption(StrEnum):
    """Why an attempt ends early."""

    CANCELLED = "cancelled"
    LEASE_LOST = "lease_lost"
    DRAINED = "drained"


class TaskInterrupted(Exception):  # noqa: N818 - a wish, not a fault
    """Raised by ``Task.progress`` to end the attempt; let it pass."""

    def __init__(self, reason: Interruption) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Pulse:
    """Keeps one lease alive from a thread of its own, and hears of cancellation on the way.

    A locked or absent database is borne until the lease is really gone: only the database can say so.
    """

    def __init__(self, desk: LeaseDesk, claim: Claim, *, seconds: float) -> None:
        self._desk = desk
        self._lease = claim.lease
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="lease", daemon=True)
        self.interruption: Interruption | None = None

    def beat(self, progress: Progress | None = None) -> bool:
        """Extend the lease now; tell whether the database took it."""
        try:
            job = self._desk.heartbeat(self._lease, progress)
        except JobRefusal as refusal:
            if refusal.code is JobCode.LEASE_LOST:
                self.interruption = Interruption.LEASE_LOST
            return False
        if job.cancel_requested:
            self.interruption = Interruption.CANCELLED
        return True

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._seconds) and self.interruption is not Interruption.LEASE_LOST:
            self.beat()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


class Task:
    """What a runner gets.

    Attributes:
        job: the job, as it was claimed.
        output: takes its artifacts, ``task.output.add("mask", media_type=..., suffix=".nii.gz")``.
        result: what the runner wants to be known of its work beside the artifacts.
        interruption: why the attempt was told to end, once it was.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        output: Staging,
        pulse: Pulse,
        interval: float,
        must_leave: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job: Job = claim.job
        self.output = output
        self.result: dict[str, JsonValue] | None = None
        self.interruption: Interruption | None = None
        self._pulse = pulse
        self._interval = interval
        self._must_leave = must_leave
        self._monotonic = monotonic
        self._stage: str | None = None
        self._written = 0.0

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tell how far the job is; cheap enough for every tile.

        The database hears of every new stage, and of the tiles of one stage now and then.

        Raises:
            TaskInterrupted: the job was cancelled or taken away, or the worker must stop. Let it pass.
            JobRefusal: ``job.progress_invalid``.
        """
        _check_progress(stage, done, total)
        now = self._monotonic()
        if stage != self._stage or now - self._written >= self._interval:
            self._pulse.beat(Progress(stage=stage, done=done, total=total))
            self._stage, self._written = stage, now
        self.check()

    def check(self) -> None:
        """Stop here if somebody wants it.

        Raises:
            TaskInterrupted: the job was cancelled or taken away, or the worker must stop. Let it pass.
        """
        if self._pulse.interruption is not None:
            self.interruption = self._pulse.interruption
        elif self._must_leave():
            self.interruption = Interruption.DRAINED
        if self.interruption is not None:
            raise TaskInterrupted(self.interruption)


def _check_progress(stage: str, done: int, total: int) -> None:
    if _STAGE.fullmatch(stage) is not None and 0 <= done <= total:
        return
    raise JobRefusal(
        JobCode.PROGRESS_INVALID,
        f"Progress {done} of {total} in stage {stage!r} is not possible.",
        remedy="Name the stage with 1 to 32 of a-z 0-9 _, and count 0 <= done <= total.",
        observed=[stage, done, total],
    )
