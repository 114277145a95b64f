"""The clients' side of the queue: submit, look, cancel, fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from .admission import admit, check_room, close_gap, count_jobs, job_of_key, mean_run_seconds
from .errors import JobCode, JobRefusal
from .ledger import append_event, change_job, get_job, move, read_events
from .limits import QueueLimits
from .records import Artifact, EventKind, QueueCounts
from .states import FINAL, JobState
from .tables import ARTIFACTS, JOBS, TOTALS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .database import Database
    from .records import Admission, Event, Job, Submission


class JobQueue:
    """Jobs as clients see them. Any number of processes may use one database.

    Every method may also raise a ``JobRefusal`` with a code ``storage...``.

    Args:
        database: where the jobs are kept.
        limits: bounds of the queue.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from nnunet_losses.serve.jobs.database import Database
        >>> from nnunet_losses.serve.jobs.records import Submission
        >>> with TemporaryDirectory() as folder:
        ...     database = Database(f"sqlite:///{folder}/jobs.sqlite")
        ...     queue = JobQueue(database)
        ...     job = queue.submit(Submission(caller="radiology", request_sha256="0" * 64)).job
        ...     print(queue.cancel(job.id).state.value)
        ...     database.close()
        cancelled
    """

    def __init__(self, database: Database, limits: QueueLimits | None = None) -> None:
        self._database = database
        self._limits = limits or QueueLimits()

    def submit(self, submission: Submission) -> Admission:
        """Accept a job; once this returns, it is on the disk and will end as succeeded, failed or cancelled.

        Raises:
            JobRefusal: ``queue.full`` and ``queue.quota`` with ``retry_after``; ``job.idempotency_conflict``;
                ``job.parameters_too_large``.
        """
        with self._database.writing() as connection:
            now = self._database.now(connection)
            return admit(connection, submission, limits=self._limits, now=now)

    def require_room(self, caller: str, key: str | None = None) -> None:
        """Refuse now what ``submit`` would refuse now; it may be otherwise a moment later.

        A request that made its job before needs no room: its client only did not hear of it.

        Args:
            caller: who asks.
            key: the request's idempotency key.

        Raises:
            JobRefusal: ``queue.full`` or ``queue.quota``.
        """
        with self._database.reading() as connection:
            if key is None or job_of_key(connection, caller, key) is None:
                check_room(connection, caller, self._limits)

    def get(self, job_id: str) -> Job:
        """Look at a job.

        Raises:
            JobRefusal: ``job.unknown``.
        """
        with self._database.reading() as connection:
            return get_job(connection, job_id)

    def place(self, job_id: str) -> int | None:
        """Tell how many jobs run before this queued one; None if it is not queued.

        Raises:
            JobRefusal: ``job.unknown``.
        """
        with self._database.reading() as connection:
            if get_job(connection, job_id).state is not JobState.QUEUED:
                return None
            own = connection.execute(select(JOBS.c.turn, JOBS.c.number).where(JOBS.c.id == job_id)).one()
            earlier = (JOBS.c.turn < own.turn) | ((JOBS.c.turn == own.turn) & (JOBS.c.number < own.number))
            return count_jobs(connection, JOBS.c.state == JobState.QUEUED, earlier)

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once; ask a running one's worker to stop.

        Once this returned, the job can only end as cancelled, and no artifact of it will ever be seen.

        Raises:
            JobRefusal: ``job.unknown``; ``job.finished`` if it succeeded or failed before.
        """
        with self._database.writing() as connection:
            job = get_job(connection, job_id)
            now = self._database.now(connection)
            if job.state is JobState.QUEUED:
                close_gap(connection, job)
                return move(connection, job, JobState.CANCELLED, now=now, cancel_requested=True)
            if job.state is JobState.RUNNING:
                return _request_cancellation(connection, job, now=now)
            return _unless_finished(job)

    def forget(self, job_id: str) -> None:
        """Delete a finished job before its retention ends; the totals still count it.

        Its folders are removed by the caller, or by the housekeeping. A job that is not finished stays.

        Raises:
            JobRefusal: a code ``storage...``.
        """
        with self._database.writing() as connection:
            connection.execute(delete(JOBS).where(JOBS.c.id == job_id, JOBS.c.state.in_(FINAL)))

    def events(self, job_id: str, *, after: int = 0, limit: int = 100) -> tuple[Event, ...]:
        """Read what happened to a job behind the event numbered ``after``, oldest first.

        Raises:
            JobRefusal: ``job.unknown``; ``job.events_unknown`` if there never was such an event.
        """
        with self._database.reading() as connection:
            job = get_job(connection, job_id)
            _check_sequence(after, job.last_event)
            return read_events(connection, job_id, after=after, limit=limit)

    def artifacts(self, job_id: str) -> tuple[Artifact, ...]:
        """List a job's artifacts, by name; only a succeeded job has any.

        Raises:
            JobRefusal: ``job.unknown``.
        """
        with self._database.reading() as connection:
            get_job(connection, job_id)
            query = select(ARTIFACTS).where(ARTIFACTS.c.job == job_id).order_by(ARTIFACTS.c.name)
            rows = connection.execute(query).mappings().all()
        return tuple(
            Artifact.model_validate({key: row[key] for key in Artifact.model_fields}) for row in rows
        )

    def artifact(self, job_id: str, name: str) -> Artifact:
        """Find one artifact.

        Raises:
            JobRefusal: ``job.unknown``, ``artifact.unknown``.
        """
        found = {artifact.name: artifact for artifact in self.artifacts(job_id)}
        if name in found:
            return found[name]
        raise JobRefusal(
            JobCode.ARTIFACT_UNKNOWN,
            f"The job has no such artifact, it has {', '.join(found) or 'none'}.",
            remedy="Choose one of those." if found else "Wait until the job has succeeded.",
            expected=sorted(found),
        )

    def counts(self) -> QueueCounts:
        """Count jobs, for metrics."""
        with self._database.reading() as connection:
            now = self._database.now(connection)
            return QueueCounts(
                by_state=_by_state(connection),
                queue_age=_queue_age(connection, now=now),
                callers_waiting=_callers_waiting(connection),
                run_seconds=mean_run_seconds(connection),
                totals={row.name: row.value for row in connection.execute(select(TOTALS))},
            )


def _request_cancellation(connection: Connection, job: Job, *, now: float) -> Job:
    if job.cancel_requested:
        return job
    change_job(connection, job.id, cancel_requested=True)
    return append_event(connection, job.id, EventKind.CANCEL_REQUESTED, {}, now=now)


def _unless_finished(job: Job) -> Job:
    if job.state is JobState.CANCELLED:
        return job
    raise JobRefusal(
        JobCode.JOB_FINISHED,
        f"The job has {job.state} already and cannot be cancelled.",
        remedy="Nothing is left to stop; its artifacts are deleted after a while.",
        observed=job.state.value,
        expected=[JobState.QUEUED.value, JobState.RUNNING.value],
    )


def _check_sequence(after: int, last: int) -> None:
    if 0 <= after <= last:
        return
    raise JobRefusal(
        JobCode.EVENTS_UNKNOWN,
        f"The job has no event {after}, its events have the numbers 1 to {last}.",
        remedy="Resume from the last number that was received, or from 0.",
        observed=after,
        expected=[0, last],
    )


def _by_state(connection: Connection) -> dict[JobState, int]:
    query = select(JOBS.c.state, func.count()).group_by(JOBS.c.state)
    found = {JobState(state): number for state, number in connection.execute(query)}
    return {state: found.get(state, 0) for state in JobState}


def _queue_age(connection: Connection, *, now: float) -> float:
    query = select(func.min(JOBS.c.created)).where(JOBS.c.state == JobState.QUEUED)
    oldest: float | None = connection.execute(query).scalar()
    return 0.0 if oldest is None else max(0.0, now - oldest)


def _callers_waiting(connection: Connection) -> int:
    query = select(func.count(func.distinct(JOBS.c.caller))).where(JOBS.c.state == JobState.QUEUED)
    return connection.execute(query).scalar_one()
