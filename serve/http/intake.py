"""A request's body becomes a job: upload or archive, model, channels, queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from nnunet_losses.serve.answer import Answer, Manifest, Outcome
from nnunet_losses.serve.dicomweb import Source
from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.problems import problem_of
from nnunet_losses.serve.versions import versions
from nnunet_losses.serve.workers.engine import InputFile, Order

from .archive_requests import is_archive_request, receive_archive_request, require_archives
from .channels import assign_files, assign_series
from .handlers import Rejection, note
from .uploads import receive_upload
from .wishes import Wishes

if TYPE_CHECKING:
    from starlette.requests import Request

    from nnunet_losses.serve.jobs.artifacts import Staging
    from nnunet_losses.serve.jobs.records import Admission
    from nnunet_losses.serve.schema import ModelDescription
    from nnunet_losses.serve.workers.reports import ModelReport

    from .archive_requests import SeriesSource
    from .job_service import JobService
    from .parts import Upload
    from .settings import Settings


async def accept_job(
    request: Request, jobs: JobService, settings: Settings, *, caller: str, key: str | None = None
) -> Admission:
    """Receive a request's files, or where they are, and queue a job for them.

    Args:
        request: its body must not have been read.
        jobs: the queue.
        settings: bounds of the upload.
        caller: owner of the job.
        key: the request's idempotency key.

    Raises:
        ServiceProblem: the body, its fields or the model cannot be used, or the server has no room.
        Refusal: an output or an archive cannot be used.
        Rejection: the parts are not the model's channels.
        JobRefusal: the queue does not take it.
        starlette.requests.ClientDisconnect: the client went away.
    """
    jobs.catalogue.require_any_ready()
    await jobs.require_room(caller, key)
    if is_archive_request(request):
        admission = await _accept_series(request, jobs, settings, caller=caller, key=key)
    else:
        admission = await _accept_files(request, jobs, settings, caller=caller, key=key)
    note(request, job=admission.job.id)
    return admission


async def _accept_files(
    request: Request, jobs: JobService, settings: Settings, *, caller: str, key: str | None
) -> Admission:
    with jobs.admission() as staging:
        upload = await receive_upload(request, staging.folder, settings)
        wishes = Wishes.of(upload.fields, settings)
        require_archives(request, settings, wishes.push)
        model = _ready_model(request, jobs, upload.fields.get("model"))
        order = await run_sync(_order, staging, upload, wishes, model)
        return await jobs.submit(staging, order, caller=caller, key=key)


async def _accept_series(
    request: Request, jobs: JobService, settings: Settings, *, caller: str, key: str | None
) -> Admission:
    asked = await receive_archive_request(request, settings)
    require_archives(request, settings, asked.source.archive, asked.push)
    wishes = Wishes.of(asked.fields(), settings)
    model = _ready_model(request, jobs, asked.model)
    order = _series_order(asked.source, wishes, model)
    return await jobs.submit(None, order, caller=caller, key=key)


def _ready_model(request: Request, jobs: JobService, name: str | None) -> ModelReport:
    catalogue = jobs.catalogue
    model = catalogue.choose(name)
    catalogue.require_ready(model)
    note(request, model=model.key)
    return model


def _order(staging: Staging, upload: Upload, wishes: Wishes, model: ModelReport) -> Order:
    """Match parts with channels, and publish the files under names that are ours."""
    try:
        paths = assign_files(_description(model), upload.files)
    except Refusal as refusal:
        raise _rejection(refusal, case=wishes.case, model=model) from refusal
    for path in paths:
        staging.keep(path.name, media_type="application/octet-stream")
    files = [InputFile(name=file.file, bytes=file.size, sha256=file.sha256) for file in staging.publish()]
    return _made(model, wishes, files=tuple(files))


def _series_order(source: SeriesSource, wishes: Wishes, model: ModelReport) -> Order:
    """Match series with channels; the worker fetches them."""
    try:
        series = assign_series(_description(model), source.series)
    except Refusal as refusal:
        if not refusal.is_contract_breach:
            raise
        raise _rejection(refusal, case=wishes.case, model=model) from refusal
    return _made(model, wishes, source=Source(archive=source.archive, study=source.study, series=series))


def _made(
    model: ModelReport,
    wishes: Wishes,
    *,
    files: tuple[InputFile, ...] = (),
    source: Source | None = None,
) -> Order:
    return Order(
        model=model.key,
        case=wishes.case,
        files=files,
        source=source,
        outputs=wishes.outputs,
        push=wishes.push,
        options=wishes.options,
    )


def _description(model: ModelReport) -> ModelDescription:
    assert model.description is not None, "a ready model is described"
    return model.description


def _rejection(refusal: Refusal, *, case: str, model: ModelReport) -> Rejection:
    """Answer a case that never became an image; a wrong set of channels has an answer, too."""
    problem = problem_of(refusal)
    manifest = Manifest(
        model=model.name, bundle_sha256=model.sha256 or "", input_sha256=None, versions=versions()
    )
    answer = Answer(case=case, outcome=Outcome.REJECTED, problem=problem, manifest=manifest)
    return Rejection(problem, answer)
