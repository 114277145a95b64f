"""The workers' side of the queue: claim a job under a lease, keep the lease, report the end.

A lease that expired may be taken away by the next claim or by the housekeeping: the job returns to the queue,
in its old turn, as often as the limits allow, and fails as ``worker.lost`` then. Every attempt has a new
token, so a worker that was only slow finds its reports refused (``lease.lost``) and can spoil nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, not_, or_, select

from .admission import advance_turn
from .errors import JobCode, JobRefusal
from .ledger import append_event, change_job, find_job, get_job, move, new_token
from .limits import QueueLimits
from .records import Artifact, Claim, EventKind, Failure, Job, Lease, Progress
from .states import JobState
from .tables import ARTIFACTS, JOBS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue
    from sqlalchemy import ColumnElement, Connection

    from .database import Database


class LeaseDesk:
    """Where workers get jobs. Any number of processes may use one database.

    Every method may also raise a ``JobRefusal`` with a code ``storage...``.
    """

    def __init__(self, database: Database, limits: QueueLimits | None = None) -> None:
        self._database = database
        self.limits = limits or QueueLimits()

    def claim(self, worker: str) -> Claim | None:
        """Take the job whose turn it is, if there is one."""
        if not self._is_work_waiting():
            return None
        with self._database.writing() as connection:
            now = self._database.now(connection)
            recover_lost(connection, limits=self.limits, now=now)
            job = find_job(connection, _waiting().order_by(JOBS.c.turn, JOBS.c.number))
            return None if job is None else self._start(connection, job, worker=worker, now=now)

    def _is_work_waiting(self) -> bool:
        """Look first without a lock: idle workers ask often."""
        with self._database.reading() as connection:
            now = self._database.now(connection)
            looked_for = or_(JOBS.c.state == JobState.QUEUED, _is_overdue(self.limits, now=now))
            return connection.execute(select(JOBS.c.id).where(looked_for).limit(1)).first() is not None

    def _start(self, connection: Connection, job: Job, *, worker: str, now: float) -> Claim:
        lease = Lease(job_id=job.id, token=new_token())
        turn = connection.execute(select(JOBS.c.turn).where(JOBS.c.id == job.id)).scalar_one()
        advance_turn(connection, turn)
        values = {
            "attempt": job.attempt + 1,
            "worker": worker[:128],
            "started": now,
            "lease_token": lease.token,
            "lease_expires": now + self.limits.lease_seconds,
        }
        return Claim(job=move(connection, job, JobState.RUNNING, now=now, **values), lease=lease)

    def heartbeat(self, lease: Lease, progress: Progress | None = None) -> Job:
        """Extend a lease, and note the progress if one is given. The job tells whether to stop.

        Raises:
            JobRefusal: ``lease.lost``.
        """
        with self._database.writing(durable=False) as connection:
            job = _held_job(connection, lease)
            now = self._database.now(connection)
            change_job(connection, job.id, lease_expires=now + self.limits.lease_seconds)
            if progress is None or progress == job.progress:
                return job
            noted = progress.model_dump()
            change_job(connection, job.id, progress=noted)
            return append_event(connection, job.id, EventKind.PROGRESS, noted, now=now)

    def succeed(
        self, lease: Lease, artifacts: Sequence[Artifact], *, result: dict[str, JsonValue] | None = None
    ) -> Job:
        """End a job with artifacts, which become visible with this commit. A cancelled job stays without.

        Raises:
            JobRefusal: ``lease.lost``.
        """
        with self._ending(lease) as end:
            if artifacts and not end.job.cancel_requested:
                rows = [artifact.model_dump() | {"job": end.job.id} for artifact in artifacts]
                end.connection.execute(insert(ARTIFACTS), rows)
            return end.move(JobState.SUCCEEDED, result=result)

    def fail(self, lease: Lease, failure: Failure) -> Job:
        """End a job with a reason; a job whose cancellation was asked for ends as cancelled.

        Raises:
            JobRefusal: ``lease.lost``.
        """
        with self._ending(lease) as end:
            return end.move(JobState.FAILED, failure=failure.model_dump())

    def release(self, lease: Lease) -> Job:
        """Give a job back untouched, as a worker does that is told to stop; the attempt does not count.

        Raises:
            JobRefusal: ``lease.lost``.
        """
        with self._ending(lease) as end:
            return end.move(JobState.QUEUED, attempt=end.job.attempt - 1)

    @contextmanager
    def _ending(self, lease: Lease) -> Iterator[_End]:
        with self._database.writing() as connection:
            job = _held_job(connection, lease)
            yield _End(connection, job, self._database.now(connection))

    def holds(self, lease: Lease) -> bool:
        """Tell whether a worker has its job still, and in time."""
        with self._database.reading() as connection:
            overdue = _is_overdue(self.limits, now=self._database.now(connection))
            in_time = select(JOBS.c.id).where(_is_held(lease), not_(overdue))
            return connection.execute(in_time).first() is not None

    def lose(self, worker: str) -> tuple[Job, ...]:
        """Take the jobs of a worker that is known to be dead, without waiting for its lease to expire."""
        with self._database.writing() as connection:
            held = and_(JOBS.c.state == JobState.RUNNING, JOBS.c.worker == worker)
            now = self._database.now(connection)
            return _recover_all(connection, held, limits=self.limits, now=now)

    def recover(self) -> tuple[Job, ...]:
        """Take jobs from workers whose lease expired; give the jobs as they now are."""
        with self._database.writing() as connection:
            return recover_lost(connection, limits=self.limits, now=self._database.now(connection))


@dataclass(frozen=True)
class _End:
    """The moment at which a worker gives a job out of its hands."""

    connection: Connection
    job: Job
    now: float

    def move(self, state: JobState, **values: Any) -> Job:
        """Change the state, unless the client asked for the job's end: then it is cancelled."""
        if self.job.cancel_requested:
            return move(self.connection, self.job, JobState.CANCELLED, now=self.now)
        return move(self.connection, self.job, state, now=self.now, **values)


def _waiting() -> Any:
    return select(JOBS).where(JOBS.c.state == JobState.QUEUED)


def _is_overdue(limits: QueueLimits, *, now: float) -> ColumnElement[bool]:
    late = or_(JOBS.c.lease_expires < now, JOBS.c.started < now - limits.run_seconds)
    return and_(JOBS.c.state == JobState.RUNNING, late)


def _is_held(lease: Lease) -> ColumnElement[bool]:
    return and_(JOBS.c.id == lease.job_id, JOBS.c.lease_token == lease.token)


def _held_job(connection: Connection, lease: Lease) -> Job:
    job = find_job(connection, select(JOBS).where(_is_held(lease)))
    if job is not None:
        return job
    raise JobRefusal(
        JobCode.LEASE_LOST,
        "The lease of this job has expired and the job was taken away.",
        remedy="Drop its results and claim another job; let leases last longer if the worker was only slow.",
        observed=lease.job_id,
    )


def recover_lost(connection: Connection, *, limits: QueueLimits, now: float) -> tuple[Job, ...]:
    """Requeue or end every running job whose worker is overdue, oldest first."""
    return _recover_all(connection, _is_overdue(limits, now=now), limits=limits, now=now)


def _recover_all(
    connection: Connection, condition: ColumnElement[bool], *, limits: QueueLimits, now: float
) -> tuple[Job, ...]:
    query = select(JOBS).where(condition).order_by(JOBS.c.number)
    lost = [get_job(connection, row["id"]) for row in connection.execute(query).mappings().all()]
    return tuple(_recover(connection, job, limits=limits, now=now) for job in lost)


def _recover(connection: Connection, job: Job, *, limits: QueueLimits, now: float) -> Job:
    if job.cancel_requested:
        return move(connection, job, JobState.CANCELLED, now=now)
    if job.started is not None and now - job.started > limits.run_seconds:
        return move(connection, job, JobState.FAILED, now=now, failure=_too_long(limits).model_dump())
    if job.attempt < limits.max_attempts:
        return move(connection, job, JobState.QUEUED, now=now)
    return move(connection, job, JobState.FAILED, now=now, failure=_lost(job).model_dump())


def _too_long(limits: QueueLimits) -> Failure:
    return Failure(
        code=JobCode.JOB_TIMEOUT,
        detail=f"The job ran longer than {limits.run_seconds:g} seconds.",
        remedy="Crop the image to the region of interest, or let the operator raise the limit.",
    )


def _lost(job: Job) -> Failure:
    return Failure(
        code=JobCode.WORKER_LOST,
        detail=f"The worker process was lost in attempt {job.attempt}, the last one.",
        remedy="Send the job again; if that fails, too, crop the image, or ask the operator for more memory.",
    )


def purge_finished(connection: Connection, *, limits: QueueLimits, now: float) -> int:
    """Delete jobs that finished before the retention time, with their events and artifacts' records."""
    old = and_(JOBS.c.finished.is_not(None), JOBS.c.finished < now - limits.retention_seconds)
    return connection.execute(delete(JOBS).where(old)).rowcount
