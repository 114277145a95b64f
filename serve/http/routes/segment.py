"""Image in, answer and mask out."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from anyio.to_thread import run_sync
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from nnunet_losses.serve.answer import Answer
from nnunet_losses.serve.errors import Refusal

from ..channels import assign_files
from ..dependencies import ModelsDep, RepresentationDep, SettingsDep
from ..engine import Segmentation
from ..handlers import Rejection, note
from ..multipart import MultipartReply, Part, media_type
from ..openapi import SEGMENT_BODY, SEGMENT_REPLY, problems
from ..parts import Upload
from ..served_model import ServedModel
from ..uploads import receive_upload

router = APIRouter(prefix="/v1", tags=["segment"])

_STATUSES = (400, 404, 406, 408, 413, 415, 422, 500, 503, 504, 507)
_NOT_DISPLAYED = re.compile(r"[^\w .+-]+")


@router.post(
    "/segment",
    response_class=Response,
    openapi_extra=SEGMENT_BODY,
    responses={**SEGMENT_REPLY, **problems(*_STATUSES)},
)
async def segment(
    request: Request, settings: SettingsDep, models: ModelsDep, representation: RepresentationDep
) -> Response:
    """Segment one case. The parts' names are those of the model's channels."""
    with (
        models.admission(),
        TemporaryDirectory(prefix="nnunet-losses-", dir=settings.temporary_folder) as name,
    ):
        folder = Path(name)
        upload = await receive_upload(request, folder, settings)
        model = models.choose(upload.fields.get("model"))
        note(request, model=model.name)
        result = await _segment(model, upload, folder=folder, request=request)
        answer = result.answer.model_copy(update={"case": display_name(upload.fields.get("case", ""))})
        note(request, outcome=answer.outcome)
        if answer.problem is not None:
            raise Rejection(answer.problem, answer)
        if representation == "application/json" or result.mask is None:
            return Response(_json(answer), media_type="application/json")
        return MultipartReply(_answer_part(answer), await run_sync(_mask_part, result.mask))


async def _segment(model: ServedModel, upload: Upload, *, folder: Path, request: Request) -> Segmentation:
    """Match parts with channels and run the model; a wrong set of channels has an answer, too."""
    engine = model.ready_engine()
    try:
        files = assign_files(engine.description, upload.files)
    except Refusal as refusal:
        return Segmentation(engine.rejection(refusal), mask=None)
    return await model.segment(files, folder=folder, request=request)


def display_name(case: str) -> str:
    """Name a case for people: letters, digits and a few signs, at most 64. It never becomes a path.

    Example:
        >>> display_name("visit 2/../../etc"), display_name("")
        ('visit 2_.._.._etc', 'case')
    """
    return _NOT_DISPLAYED.sub("_", case).strip()[:64] or "case"


def _json(answer: Answer) -> bytes:
    return answer.model_dump_json(indent=2).encode() + b"\n"


def _answer_part(answer: Answer) -> Part:
    return Part("answer", "answer.json", "application/json", _json(answer))


def _mask_part(path: Path) -> Part:
    name = f"mask{''.join(path.suffixes)}"
    return Part("mask", name, media_type(name), path.read_bytes())
