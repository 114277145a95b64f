"""The worker's loop: claim, run, publish, report. Processes are somebody else's business."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue  # noqa: TC002 - pydantic reads the annotation
from pydantic_core import from_json, to_json

from ..errors import Refusal
from ..logs import log_event
from ..schema import Frozen
from .errors import JobCode, JobRefusal
from .records import Artifact, Claim, Failure, Job
from .states import JobState
from .storage_errors import full_disk, is_full
from .task import Interruption, Pulse, Task

if TYPE_CHECKING:
    from .artifacts import FolderStore, Staging
    from .leases import LeaseDesk

# Does a job: reads ``task.job``, calls ``task.progress``, writes to ``task.output``. A ``Refusal`` fails the
# job with its code; any other exception fails it as ``job.internal``, and only type and places are logged.
Runner = Callable[[Task], None]


class WorkerTiming(Frozen):
    """Seconds between things."""

    poll: float = 0.5  # looks into an empty queue
    progress: float = 0.5  # writes of the progress within one stage
    beats_per_lease: float = 3  # heartbeats before a lease would expire
    report_patience: float = 60  # during which the end of a job is tried to be written


class _Ending(Frozen):
    """How an attempt ended, before the database knows."""

    kind: Literal["succeeded", "failed", "drained", "lost"]
    artifacts: tuple[Artifact, ...] = ()
    result: dict[str, JsonValue] | None = None
    failure: Failure | None = None


class Worker:
    """Runs jobs one after the other, until it is told to stop.

    Args:
        desk: where jobs are claimed.
        artifacts: where results go.
        run: does a job.
        name: shown in the job, for example ``host-1/cuda:0``.
        timing: seconds between things.
        sleep, monotonic: for tests.
    """

    def __init__(
        self,
        desk: LeaseDesk,
        artifacts: FolderStore,
        run: Runner,
        *,
        name: str,
        timing: WorkerTiming | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._artifacts = artifacts
        self._run = run
        self._name = name
        self._timing = timing or WorkerTiming()
        self._sleep = sleep
        self._monotonic = monotonic
        self._leave_at: float | None = None  # written by signal handlers, hence no lock

    def work(self) -> None:
        """Run jobs until ``drain``; an unusable database is waited for."""
        while not self.is_draining:
            try:
                job = self.run_once()
            except JobRefusal as refusal:
                log_event("worker.storage", level=logging.WARNING, worker=self._name, code=refusal.code.value)
                job = None
            if job is None and not self.is_draining:
                self._sleep(self._timing.poll)

    def run_once(self) -> Job | None:
        """Run the next job to its end; give it as it then is, or None if there was none (or it was lost).

        Raises:
            JobRefusal: the database cannot be used. A job that was begun is run again when its lease expires.
        """
        claim = self._desk.claim(self._name)
        if claim is None:
            return None
        try:
            job = self._attempt(claim)
        except (KeyboardInterrupt, SystemExit):
            with suppress(JobRefusal):  # if it cannot be given back, its lease expires
                self._desk.release(claim.lease)
            raise
        log_event("job.ended", job=claim.job.id, worker=self._name, state=job.state.value if job else "lost")
        return job

    def drain(self, *, grace: float) -> None:
        """Claim nothing more; give the running job back if it is not done after the grace (seconds)."""
        self._leave_at = self._monotonic() + grace

    def drain_upon_signals(self, *signals: signal.Signals, grace: float) -> None:
        """Drain when a signal arrives, SIGTERM by default. Call it in the main thread."""
        for number in signals or (signal.SIGTERM,):
            signal.signal(number, lambda *_: self.drain(grace=grace))

    @property
    def is_draining(self) -> bool:
        """Whether nothing more is claimed."""
        return self._leave_at is not None

    def _must_leave(self) -> bool:
        return self._leave_at is not None and self._monotonic() >= self._leave_at

    def _attempt(self, claim: Claim) -> Job | None:
        seconds = self._desk.limits.lease_seconds / self._timing.beats_per_lease
        with Pulse(self._desk, claim, seconds=seconds) as pulse:
            job = self._report(claim, self._perform(claim, pulse))
        if job is not None and job.state is not JobState.SUCCEEDED:
            self._artifacts.remove([claim.lease.token])
        return job  # of a job that was taken away, the housekeeper removes what nobody refers to

    def _perform(self, claim: Claim, pulse: Pulse) -> _Ending:
        task: Task | None = None
        try:
            staging = self._artifacts.stage(claim.lease.token)
            task = self._task(claim, staging, pulse)
            self._run(task)
            return _Ending(kind="succeeded", artifacts=staging.publish(), result=task.result)
        except Exception as error:  # noqa: BLE001 - one job's fault must not end the worker
            self._artifacts.remove([claim.lease.token])
            if task is not None and task.interruption is not None:  # whatever the runner made of it
                return _INTERRUPTED[task.interruption]
            return self._failed(claim, error)

    def _task(self, claim: Claim, staging: Staging, pulse: Pulse) -> Task:
        return Task(
            claim,
            output=staging,
            pulse=pulse,
            interval=self._timing.progress,
            must_leave=self._must_leave,
            monotonic=self._monotonic,
        )

    def _failed(self, claim: Claim, error: Exception) -> _Ending:
        if isinstance(error, OSError) and is_full(error):
            error = full_disk("the job's results")
        if isinstance(error, (Refusal, JobRefusal)):
            return _Ending(kind="failed", failure=_failure_of(error))
        log_event("job.internal", level=logging.ERROR, error=error, job=claim.job.id, worker=self._name)
        return _Ending(kind="failed", failure=_INTERNAL)

    def _report(self, claim: Claim, ending: _Ending) -> Job | None:
        """Try until the database answers. None: the job was taken away."""
        give_up = self._monotonic() + self._timing.report_patience
        while True:
            try:
                return self._write_end(claim, ending)
            except JobRefusal as refusal:
                if refusal.code is JobCode.LEASE_LOST:
                    return None
                if self._monotonic() >= give_up:
                    raise
            self._sleep(self._timing.poll)

    def _write_end(self, claim: Claim, ending: _Ending) -> Job | None:
        if ending.kind == "succeeded":
            return self._desk.succeed(claim.lease, ending.artifacts, result=ending.result)
        if ending.kind == "drained":
            return self._desk.release(claim.lease)
        if ending.failure is not None:
            return self._desk.fail(claim.lease, ending.failure)
        return None


def _failure_of(refusal: Refusal | JobRefusal) -> Failure:
    """Keep what JSON, and PostgreSQL's at that, can hold: NaN becomes a string."""
    values = {"observed": refusal.observed, "expected": refusal.expected}
    plain = from_json(to_json(values, inf_nan_mode="strings", fallback=str))
    return Failure(code=refusal.code.value, detail=refusal.detail, remedy=refusal.remedy, **plain)


# A cancelled job is reported by ``release``, which ends it as cancelled because that was asked for.
_INTERRUPTED = {
    Interruption.CANCELLED: _Ending(kind="drained"),
    Interruption.DRAINED: _Ending(kind="drained"),
    Interruption.LEASE_LOST: _Ending(kind="lost"),
}


_INTERNAL = Failure(
    code=JobCode.JOB_INTERNAL,
    detail="Something went wrong in the service.",
    remedy="Report the job's id to the operator: the log tells the place.",
)
