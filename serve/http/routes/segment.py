"""Image in, answer and mask out, in one call that waits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from nnunet_losses.serve.answer import Answer
from nnunet_losses.serve.jobs.records import Artifact, Job
from nnunet_losses.serve.workers.engine import ANSWER

from ..dependencies import CallerDep, JobsDep, RepresentationDep, SettingsDep
from ..handlers import JobFailed, Rejection, note
from ..intake import accept_job
from ..job_service import JobService
from ..multipart import MultipartReply, Part
from ..names import download_name
from ..openapi import SEGMENT_BODY, SEGMENT_REPLY, problems
from ..patience import awaited

router = APIRouter(prefix="/v1", tags=["segment"])

_STATUSES = (400, 403, 404, 406, 408, 413, 415, 422, 429, 500, 501, 502, 503, 504, 507)


@router.post(
    "/segment",
    response_class=Response,
    openapi_extra=SEGMENT_BODY,
    responses={**SEGMENT_REPLY, **problems(*_STATUSES)},
)
async def segment(
    request: Request,
    settings: SettingsDep,
    jobs: JobsDep,
    caller: CallerDep,
    representation: RepresentationDep,
) -> Response:
    """Segment one case. The parts' names are those of the model's channels; JSON names series in an archive.

    It is a job that the call waits for, and that is deleted with the reply, files and all.
    """
    admission = await accept_job(request, jobs, settings, caller=caller)
    async with _passing(jobs, admission.job):
        job = await awaited(jobs, admission.job, request=request, seconds=settings.prediction_timeout)
        if job.failure is not None:
            raise JobFailed(job.failure)
        artifacts = {
            artifact.name: artifact for artifact in await run_sync(jobs.ground.queue.artifacts, job.id)
        }
        answer = Answer.model_validate_json(await run_sync(_content, jobs, artifacts[ANSWER]))
        note(request, outcome=answer.outcome)
        if answer.problem is not None:
            raise Rejection(answer.problem, answer)
        files = [artifact for kind, artifact in artifacts.items() if kind != ANSWER]
        if representation == "application/json" or not files:
            return Response(_json(answer), media_type="application/json")
        parts = await run_sync(lambda: [_file_part(jobs, artifact) for artifact in files])
        return MultipartReply(Part("answer", "answer.json", "application/json", _json(answer)), *parts)


@asynccontextmanager
async def _passing(jobs: JobService, job: Job) -> AsyncIterator[None]:
    """Leave nothing of a job behind when its client has its reply, or wants none any more."""
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await jobs.drop(job)


def _content(jobs: JobService, artifact: Artifact) -> bytes:
    with jobs.ground.artifacts.open(artifact) as file:
        return file.read()


def _json(answer: Answer) -> bytes:
    return answer.model_dump_json(indent=2).encode() + b"\n"


def _file_part(jobs: JobService, artifact: Artifact) -> Part:
    """A mask or a map: the part is named after its kind."""
    return Part(artifact.name, download_name(artifact), artifact.media_type, _content(jobs, artifact))
