"""Jobs: submit, look, listen, cancel, fetch."""

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from nnunet_losses.serve.answer import Answer
from nnunet_losses.serve.jobs.records import Artifact, Job
from nnunet_losses.serve.workers.engine import ANSWER

from ..dependencies import CallerDep, JobsDep, SettingsDep
from ..event_stream import event_stream
from ..intake import accept_job
from ..job_schemas import JobManifest, JobStatus, job_url
from ..job_service import JobService
from ..names import download_name
from ..openapi import EVENTS_REPLY, FILE_REPLY, SEGMENT_BODY, problems
from ..preferences import idempotency_key, last_event_id, preferred_wait
from ..ranges import settle_range

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_STATUSES = (400, 403, 404, 408, 413, 415, 422, 429, 500, 501, 503, 507)
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    200: {"model": JobStatus, "description": "The job is finished: see `Prefer` and `Idempotency-Key`."},
    202: {"model": JobStatus, "description": "The job is accepted. `Location` is its address."},
}


@router.post(
    "",
    status_code=202,
    response_model=JobStatus,
    openapi_extra=SEGMENT_BODY,
    responses={**_ACCEPTED, **problems(*_STATUSES)},
)
async def submit(
    request: Request,
    settings: SettingsDep,
    jobs: JobsDep,
    caller: CallerDep,
    prefer: Annotated[str | None, Header()] = None,
    idempotency: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
) -> Response:
    """Accept one case as a job, which ends as succeeded, failed or cancelled, whatever happens to the server.

    The body brings the files, or says as JSON in which archive the series are; a worker fetches them then.

    With `Prefer: wait=10` the reply waits up to ten seconds for the end. The same `Idempotency-Key` with the
    same request gives the same job.
    """
    key = idempotency_key(idempotency)
    admission = await accept_job(request, jobs, settings, caller=caller, key=key)
    wait = preferred_wait(prefer)
    job = admission.job
    if wait is not None:
        job = await jobs.finished(job, seconds=min(wait, settings.prediction_timeout))
    headers = {"Location": job_url(job.id)}
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    return await _reply(jobs, job, headers=headers)


async def _reply(jobs: JobService, job: Job, *, headers: dict[str, str]) -> Response:
    """202 as long as there is something to wait for, 200 afterwards."""
    status = await jobs.status(job)
    if not job.state.is_final:
        headers["Retry-After"] = str(1 if not status.position else 2)
    return JSONResponse(status.model_dump(mode="json"), 200 if job.state.is_final else 202, headers=headers)


@router.get("/{job}", responses=problems(404, 503))
async def show(job: str, jobs: JobsDep, caller: CallerDep) -> JobStatus:
    """How far the job is, and where its artifacts are."""
    return await jobs.status(await jobs.look(job, caller=caller))


@router.delete("/{job}", responses={**_ACCEPTED, **problems(404, 409, 503)}, response_model=JobStatus)
async def cancel(job: str, jobs: JobsDep, caller: CallerDep) -> Response:
    """Cancel a job: at once if it waits (200), after its present tile if it runs (202).

    Once this was answered, the job ends as cancelled and none of its artifacts will be seen.
    """
    found = await jobs.look(job, caller=caller)
    return await _reply(jobs, await jobs.cancel(found), headers={})


@router.get("/{job}/events", response_class=Response, responses={**EVENTS_REPLY, **problems(404, 422, 503)})
async def events(
    job: str,
    jobs: JobsDep,
    caller: CallerDep,
    last: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Server-sent events `state` and `progress`, all or those behind `Last-Event-ID`; `done` ends them.

    204 tells a browser that it has everything.
    """
    after = last_event_id(last)
    found = await jobs.look(job, caller=caller)
    if found.state.is_final and after == found.last_event + 1:
        return Response(status_code=204)
    await run_sync(lambda: jobs.ground.queue.events(found.id, after=after, limit=1))  # refuses what never was
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies must not collect them
    stream = event_stream(jobs, found, after=after)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


@router.get("/{job}/manifest", responses=problems(404, 500, 503))
async def manifest(job: str, jobs: JobsDep, caller: CallerDep) -> JobManifest:
    """What made the artifacts: hashes of input, model and results, versions, engine, precision, timings."""
    found = await jobs.look(job, caller=caller)
    artifacts = await run_sync(jobs.ground.queue.artifacts, found.id)
    path = await run_sync(_path, jobs, await _artifact(jobs, found, ANSWER))
    answer = Answer.model_validate_json(await run_sync(path.read_bytes))
    return JobManifest.of(found, answer, artifacts=artifacts)


@router.get(
    "/{job}/artifacts/{name}",
    response_class=Response,
    responses={**FILE_REPLY, **problems(404, 416, 500, 503)},
)
async def artifact(job: str, name: str, request: Request, jobs: JobsDep, caller: CallerDep) -> Response:
    """A result file; parts of it by `Range`, 304 for who has it."""
    found = await _artifact(jobs, await jobs.look(job, caller=caller), name)
    tag = f'"{found.sha256}"'
    headers = {"ETag": tag, "Cache-Control": "no-store"}  # an image of a patient: no browser keeps it
    known = request.headers.get("if-none-match", "")
    if tag in known or known.strip() == "*":
        return Response(status_code=304, headers=headers)
    settle_range(request, size=found.size, tag=tag)
    path = await run_sync(_path, jobs, found)
    return FileResponse(path, headers=headers, media_type=found.media_type, filename=download_name(found))


async def _artifact(jobs: JobService, job: Job, name: str) -> Artifact:
    return await run_sync(jobs.ground.queue.artifact, job.id, name)


def _path(jobs: JobService, artifact: Artifact) -> Any:
    """Check that the file is there and whole, and tell where it lies."""
    jobs.ground.artifacts.open(artifact).close()
    return jobs.ground.artifacts.path(artifact)
