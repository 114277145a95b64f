"""Who gets into the queue, and in which turn.

Turns make the queue fair and starve nobody (start-time fair queueing, Goyal, Vin and Cheng 1997,
https://doi.org/10.1109/90.649569, with jobs of equal cost): a job's turn is one more than that of its
caller's job before it, or than the last turn that was claimed. The lowest turn runs next, the oldest job
among equals. One caller's hundred jobs take the turns 1 to 100, another caller's first job takes turn 1, too.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from .errors import JobCode, JobRefusal
from .ledger import enter_job, find_job
from .records import Admission
from .states import JobState
from .tables import JOBS, QUEUE

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from .limits import QueueLimits
    from .records import Job, Submission

_RECENT = 20  # finished jobs that say how long one takes
_LONGEST_WAIT = 3600  # seconds; nobody should plan further ahead by an estimate


def admit(connection: Connection, submission: Submission, *, limits: QueueLimits, now: float) -> Admission:
    """Give the job that this request already made, or make one.

    Raises:
        JobRefusal: ``job.idempotency_conflict``, ``job.parameters_too_large``, ``queue.quota``,
            ``queue.full``.
    """
    earlier = _earlier_job(connection, submission)
    if earlier is not None:
        return Admission(job=earlier, created=False)
    _check_parameters(submission, limits.max_parameter_bytes)
    check_room(connection, submission.caller, limits)
    values = submission.model_dump() | {"turn": _next_turn(connection, submission.caller)}
    return Admission(job=enter_job(connection, values, now=now), created=True)


def _earlier_job(connection: Connection, submission: Submission) -> Job | None:
    if submission.idempotency_key is None:
        return None
    job = job_of_key(connection, submission.caller, submission.idempotency_key)
    if job is None or job.request_sha256 == submission.request_sha256:
        return job
    raise JobRefusal(
        JobCode.IDEMPOTENCY_CONFLICT,
        f"This idempotency key was used for another request (job {job.id}).",
        remedy="Send the very same request again, or choose a new key.",
        observed=submission.request_sha256,
        expected=job.request_sha256,
    )


def job_of_key(connection: Connection, caller: str, key: str) -> Job | None:
    """Find the job that a caller's request with this idempotency key made."""
    made = (JOBS.c.caller == caller, JOBS.c.idempotency_key == key)
    return find_job(connection, select(JOBS).where(*made))


def _check_parameters(submission: Submission, most: int) -> None:
    size = len(json.dumps(submission.parameters).encode())
    if size > most:
        raise JobRefusal(
            JobCode.PARAMETERS_TOO_LARGE,
            f"The job's parameters take {size} bytes, at most {most} are kept.",
            remedy="Send large values as a file.",
            observed=size,
            expected=most,
        )


def check_room(connection: Connection, caller: str, limits: QueueLimits) -> None:
    """Refuse one job more of this caller where there are too many of him, or of all.

    Raises:
        JobRefusal: ``queue.quota``, ``queue.full``.
    """
    _check_quota(connection, caller, limits)
    _check_queue(connection, limits)


def _check_quota(connection: Connection, caller: str, limits: QueueLimits) -> None:
    queued = count_jobs(connection, JOBS.c.caller == caller, JOBS.c.state == JobState.QUEUED)
    running = count_jobs(connection, JOBS.c.caller == caller, JOBS.c.state == JobState.RUNNING)
    if queued + running < limits.max_per_caller:
        return
    raise JobRefusal(
        JobCode.QUEUE_QUOTA,
        f"{queued + running} jobs of this caller are unfinished, at most {limits.max_per_caller} may be.",
        remedy="Wait until one is finished, or cancel one.",
        retry_after=estimate_wait(
            connection, ahead=0 if running else _jobs_ahead(connection, caller), limits=limits
        ),
        observed=queued + running,
        expected=limits.max_per_caller,
    )


def _check_queue(connection: Connection, limits: QueueLimits) -> None:
    queued = count_jobs(connection, JOBS.c.state == JobState.QUEUED)
    if queued < limits.max_queued:
        return
    raise JobRefusal(
        JobCode.QUEUE_FULL,
        f"{queued} jobs are waiting, at most {limits.max_queued} may wait.",
        remedy="Send the job again later.",
        retry_after=estimate_wait(connection, ahead=0, limits=limits),
        observed=queued,
        expected=limits.max_queued,
    )


def count_jobs(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    """Count jobs for which all conditions hold."""
    return connection.execute(select(func.count()).select_from(JOBS).where(*conditions)).scalar_one()


def _jobs_ahead(connection: Connection, caller: str) -> int:
    """Count the queued jobs that run before the caller's first one."""
    queued = JOBS.c.state == JobState.QUEUED
    first = select(func.min(JOBS.c.turn)).where(queued, JOBS.c.caller == caller).scalar_subquery()
    return count_jobs(connection, queued, JOBS.c.turn < first)


def mean_run_seconds(connection: Connection) -> float | None:
    """Average how long the last successful jobs ran; None as long as there is none."""
    seconds = (JOBS.c.finished - JOBS.c.started).label("seconds")
    succeeded = select(seconds).where(JOBS.c.state == JobState.SUCCEEDED)
    recent = succeeded.order_by(JOBS.c.finished.desc()).limit(_RECENT).subquery()
    mean: float | None = connection.execute(select(func.avg(recent.c.seconds))).scalar()
    return mean


def estimate_wait(connection: Connection, *, ahead: int, limits: QueueLimits) -> int:
    """Estimate the seconds until a worker has taken one more job than there are ahead."""
    mean = mean_run_seconds(connection)
    if mean is None:
        return limits.retry_after
    workers = max(1, count_jobs(connection, JOBS.c.state == JobState.RUNNING))
    return min(_LONGEST_WAIT, max(1, math.ceil(mean * (ahead + 1) / workers)))


def _next_turn(connection: Connection, caller: str) -> int:
    waiting = (JOBS.c.caller == caller) & (JOBS.c.state == JobState.QUEUED)
    own: int | None = connection.execute(select(func.max(JOBS.c.turn)).where(waiting)).scalar()
    claimed: int = connection.execute(select(QUEUE.c.turn)).scalar_one()
    return max(own or 0, claimed) + 1


def advance_turn(connection: Connection, turn: int) -> None:
    """Note that a job of this turn was claimed."""
    connection.execute(update(QUEUE).where(QUEUE.c.turn < turn).values(turn=turn))


def close_gap(connection: Connection, job: Job) -> None:
    """Move the caller's later jobs up by one turn when one of them leaves the queue unrun."""
    turn = select(JOBS.c.turn).where(JOBS.c.id == job.id).scalar_subquery()
    later = (JOBS.c.caller == job.caller) & (JOBS.c.state == JobState.QUEUED) & (JOBS.c.turn > turn)
    connection.execute(update(JOBS).where(later).values(turn=JOBS.c.turn - 1))
