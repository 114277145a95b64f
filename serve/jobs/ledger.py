"""Rows and records: the only place that reads jobs, changes a job's state and numbers its events.

Every function runs inside a transaction of ``Database``; those that change something, inside a writing one.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from .errors import JobCode, JobRefusal
from .records import Event, EventKind, Failure, Job
from .states import JobState, check_transition
from .statistics import count_end
from .tables import ACCEPTED, EVENTS, JOBS, REQUEUED, TOTALS

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping, Select

_ID = re.compile(r"[0-9a-f]{32}")


def new_token() -> str:
    """Draw a random name of 128 bits, for jobs, leases and folders."""
    return secrets.token_hex(16)


def job_of(row: RowMapping) -> Job:
    """Make a record of a row of ``JOBS``."""
    return Job.model_validate({name: row[name] for name in Job.model_fields})


def find_job(connection: Connection, query: Select[Any]) -> Job | None:
    """Read the first job of a query."""
    row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else job_of(row)


def get_job(connection: Connection, job_id: str) -> Job:
    """Read a job.

    Raises:
        JobRefusal: ``job.unknown``.
    """
    is_possible = _ID.fullmatch(job_id) is not None  # PostgreSQL fails at texts with a zero character
    job = find_job(connection, select(JOBS).where(JOBS.c.id == job_id)) if is_possible else None
    if job is None:
        raise unknown_job()
    return job


def unknown_job() -> JobRefusal:
    """Refuse an id, without repeating it: it may be anything."""
    return JobRefusal(
        JobCode.JOB_UNKNOWN,
        "There is no such job.",
        remedy="Use the id that the submission answered with; finished jobs are deleted after a while.",
    )


def enter_job(connection: Connection, values: dict[str, Any], *, now: float) -> Job:
    """Write a new queued job, and its first event."""
    row = {**values, "id": new_token(), "state": JobState.QUEUED, "created": now}
    connection.execute(insert(JOBS).values(row))
    _add_to_total(connection, ACCEPTED)
    return append_event(
        connection, row["id"], EventKind.STATE, {"state": JobState.QUEUED.value, "attempt": 0}, now=now
    )


def move(connection: Connection, job: Job, state: JobState, *, now: float, **values: Any) -> Job:
    """Change a job's state, and other columns with it.

    Raises:
        JobRefusal: ``job.transition``.
    """
    check_transition(job.state, state)
    if state is not JobState.RUNNING:
        values |= {"lease_token": None, "lease_expires": None, "progress": None}
    if state.is_final:
        values["finished"] = now
        count_end(connection, job, state, values)
    change_job(connection, job.id, state=state, **values)
    if state is not JobState.RUNNING:
        _add_to_total(connection, REQUEUED if state is JobState.QUEUED else state.value)
    failure: Failure | None = values.get("failure")
    data = {"state": state.value, "attempt": values.get("attempt", job.attempt)}
    return append_event(
        connection, job.id, EventKind.STATE, data | ({"failure": failure} if failure else {}), now=now
    )


def change_job(connection: Connection, job_id: str, **values: Any) -> None:
    """Write columns of a job other than its state."""
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(**values))


def append_event(
    connection: Connection, job_id: str, kind: EventKind, data: dict[str, Any], *, now: float
) -> Job:
    """Number and write an event; give the job as it now is."""
    change_job(connection, job_id, last_event=JOBS.c.last_event + 1)
    job = get_job(connection, job_id)
    row = {"job": job_id, "sequence": job.last_event, "time": now, "kind": kind.value, "data": data}
    connection.execute(insert(EVENTS).values(row))
    return job


def read_events(connection: Connection, job_id: str, *, after: int, limit: int) -> tuple[Event, ...]:
    """Read a job's events behind a sequence number."""
    query = select(EVENTS).where(EVENTS.c.job == job_id, EVENTS.c.sequence > after)
    rows = connection.execute(query.order_by(EVENTS.c.sequence).limit(limit)).mappings()
    return tuple(Event.model_validate({name: row[name] for name in Event.model_fields}) for row in rows)


def _add_to_total(connection: Connection, name: str) -> None:
    connection.execute(update(TOTALS).where(TOTALS.c.name == name).values(value=TOTALS.c.value + 1))
