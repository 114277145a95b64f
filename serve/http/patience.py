"""Waiting for a job on behalf of a client, who may lose patience first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from nnunet_losses.serve.jobs.states import JobState

from .problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from starlette.requests import Request

    from nnunet_losses.serve.jobs.records import Job

    from .job_service import JobService


async def awaited(jobs: JobService, job: Job, *, request: Request, seconds: float) -> Job:
    """Wait until a job is finished.

    Raises:
        starlette.requests.ClientDisconnect: the client went away first.
        ServiceProblem: it took too long (504), or the server stops (503).
    """
    waiting = asyncio.ensure_future(jobs.finished(job, seconds=seconds))
    leaving = asyncio.ensure_future(gone(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientDisconnect
        job = waiting.result()
    finally:
        waiting.cancel()
        leaving.cancel()
    if job.state is JobState.CANCELLED or (jobs.is_draining and not job.state.is_final):
        raise jobs.stopping()
    if not job.state.is_final:
        raise _timed_out(seconds)
    return job


async def gone(request: Request) -> None:
    """Return when the client has gone away; after the body nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _timed_out(seconds: float) -> ServiceProblem:
    return ServiceProblem(
        ServiceCode.PREDICTION_TIMEOUT,
        f"There was no result after {seconds:g} s, waiting included.",
        remedy="Send a smaller image or a job to /v1/jobs, or ask the operator for more time.",
    )
