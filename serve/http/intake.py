"""A request's body becomes a job: upload, model, channels, queue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from nnunet_losses.serve.answer import Answer, Manifest, Outcome
from nnunet_losses.serve.approximations import OPTIONS as APPROXIMATIONS
from nnunet_losses.serve.approximations import Approximations
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.outputs import OutputKind, check_kinds
from nnunet_losses.serve.policies import OPTIONS, Policies
from nnunet_losses.serve.problems import problem_of
from nnunet_losses.serve.versions import versions
from nnunet_losses.serve.workers.engine import ANSWER, MASK, InputFile, Order

from .channels import assign_files
from .handlers import Rejection, note
from .parts import invalid
from .problems import ServiceCode, ServiceProblem
from .uploads import receive_upload

if TYPE_CHECKING:
    from starlette.requests import Request

    from nnunet_losses.serve.jobs.artifacts import Staging
    from nnunet_losses.serve.jobs.records import Admission
    from nnunet_losses.serve.workers.reports import ModelReport

    from .job_service import JobService
    from .parts import Upload
    from .settings import Settings

_NOT_DISPLAYED = re.compile(r"[^\w .+-]+")
DEFAULT_OUTPUTS = (MASK, ANSWER)


async def accept_job(
    request: Request, jobs: JobService, settings: Settings, *, caller: str, key: str | None = None
) -> Admission:
    """Receive a request's files and queue a job for them.

    Args:
        request: its body must not have been read.
        jobs: the queue.
        settings: bounds of the upload.
        caller: owner of the job.
        key: the request's idempotency key.

    Raises:
        ServiceProblem: the body, its fields or the model cannot be used, or the server has no room.
        Rejection: the parts are not the model's channels.
        JobRefusal: the queue does not take it.
        starlette.requests.ClientDisconnect: the client went away.
    """
    jobs.catalogue.require_any_ready()
    await jobs.require_room(caller)
    with jobs.admission() as staging:
        upload = await receive_upload(request, staging.folder, settings)
        _check_approximations(upload, settings)
        catalogue = jobs.catalogue
        model = catalogue.choose(upload.fields.get("model"))
        catalogue.require_ready(model)
        note(request, model=model.key)
        order = await run_sync(_order, staging, upload, model)
        admission = await jobs.submit(staging, order, caller=caller, key=key)
    note(request, job=admission.job.id)
    return admission


def _order(staging: Staging, upload: Upload, model: ModelReport) -> Order:
    """Match parts with channels, and publish the files under names that are ours."""
    case = display_name(upload.fields.get("case", ""))
    outputs = parse_outputs(upload.fields.get("outputs", ""))
    options = _options(upload)
    assert model.description is not None, "a ready model is described"
    try:
        paths = assign_files(model.description, upload.files)
    except Refusal as refusal:
        raise _rejection(refusal, case=case, model=model) from refusal
    for path in paths:
        staging.keep(path.name, media_type="application/octet-stream")
    files = [InputFile(name=file.file, bytes=file.size, sha256=file.sha256) for file in staging.publish()]
    return Order(model=model.key, case=case, files=tuple(files), outputs=outputs, options=options)


def _check_approximations(upload: Upload, settings: Settings) -> None:
    """Let nobody trade exactness for speed unless the operator allows it."""
    if settings.allow_approximations or not any(name in upload.fields for name in APPROXIMATIONS):
        return
    raise ServiceProblem(
        ServiceCode.REQUEST_APPROXIMATION,
        "This server answers as the model was exported, without approximations.",
        remedy=f"Leave out {', '.join(APPROXIMATIONS)}; or let the operator set "
        "NNUNET_LOSSES_ALLOW_APPROXIMATIONS.",
    )


def _options(upload: Upload) -> dict[str, str]:
    """What the request asks of the predictor; refused before any file is kept."""
    options = {name: upload.fields[name] for name in (*OPTIONS, *APPROXIMATIONS) if name in upload.fields}
    try:
        Policies().changed(options)
        Approximations.of(options)
    except ValueError as error:
        raise invalid(f"The field is not understood: {error}.") from error
    return options


def parse_outputs(text: str) -> tuple[str, ...]:
    """Read the kinds of artifacts that a request asks for; by default mask and answer.

    Raises:
        Refusal: there is no such kind (``output.unknown``), or its library is not installed.

    Example:
        >>> parse_outputs("mask, answer"), parse_outputs("")
        (('mask', 'answer'), ('mask', 'answer'))
    """
    kinds = dict.fromkeys(kind for word in text.split(",") if (kind := word.strip().lower()))
    known = {ANSWER, *(kind.value for kind in OutputKind)}
    if not known.issuperset(kinds):
        raise Refusal(
            Code.OUTPUT_UNKNOWN,
            "The field `outputs` names a kind that is not known.",
            remedy=f"Choose some of {', '.join(sorted(known))}, with commas between.",
            expected=sorted(known),
        )
    check_kinds(kind for kind in kinds if kind != ANSWER)
    return tuple(kinds) or DEFAULT_OUTPUTS


def _rejection(refusal: Refusal, *, case: str, model: ModelReport) -> Rejection:
    """Answer a case that never became an image; a wrong set of channels has an answer, too."""
    problem = problem_of(refusal)
    manifest = Manifest(
        model=model.name, bundle_sha256=model.sha256 or "", input_sha256=None, versions=versions()
    )
    answer = Answer(case=case, outcome=Outcome.REJECTED, problem=problem, manifest=manifest)
    return Rejection(problem, answer)


def display_name(case: str) -> str:
    """Name a case for people: letters, digits and a few signs, at most 64. It never becomes a path.

    Example:
        >>> display_name("visit 2/../../etc"), display_name("")
        ('visit 2_.._.._etc', 'case')
    """
    return _NOT_DISPLAYED.sub("_", case).strip()[:64] or "case"
