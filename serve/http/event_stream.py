"""A job's events as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from fastapi.sse import format_sse_event

from nnunet_losses.serve.jobs.errors import JobRefusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nnunet_losses.serve.jobs.records import Event, Job

    from .job_service import JobService

HEARTBEAT = 15.0  # seconds of silence after which a comment shows proxies that the connection lives
RETRY = 2000  # milliseconds after which a browser comes back
DONE = "done"


async def event_stream(jobs: JobService, job: Job, *, after: int) -> AsyncIterator[bytes]:
    """Give the events behind number ``after`` as they happen; the last one, ``done``, holds the job's status.

    ``done`` has the number that follows the job's last event, so that who has it is not served again. The
    stream ends early where the job is deleted or the database away: the client comes back and is told.
    """
    yield format_sse_event(retry=RETRY)
    spoken = time.monotonic()
    with suppress(JobRefusal):
        async for current in jobs.changes_of(job):
            async for event in _behind(jobs, job, after):
                yield _encode(event)
                after, spoken = event.sequence, time.monotonic()
            if current.state.is_final:
                yield await _done(jobs, current)
            elif jobs.is_stuck(current):
                return  # the server stops; the client finds the job again when it is back
            elif time.monotonic() - spoken >= HEARTBEAT:
                yield format_sse_event(comment="still here")
                spoken = time.monotonic()


async def _behind(jobs: JobService, job: Job, after: int) -> AsyncIterator[Event]:
    queue = jobs.ground.queue
    while events := await run_sync(partial(queue.events, job.id, after=after)):
        for event in events:
            yield event
        after = events[-1].sequence


def _encode(event: Event) -> bytes:
    data = {"time": event.time, **event.data}
    return format_sse_event(event=event.kind.value, data_str=json.dumps(data), id=str(event.sequence))


async def _done(jobs: JobService, job: Job) -> bytes:
    status = await jobs.status(job)
    return format_sse_event(event=DONE, data_str=status.model_dump_json(), id=str(job.last_event + 1))
