"""Requests that name series in an archive instead of bringing files: a JSON body."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from nnunet_losses.serve.dicomweb.archives import not_listed
from nnunet_losses.serve.dicomweb.source import Uid  # noqa: TC001 - pydantic reads it
from nnunet_losses.serve.policies import EmptyPolicy, EmptySeg, OodPolicy  # noqa: TC001 - pydantic reads them

from .parts import MAX_FIELD_BYTES
from .problems import ServiceCode, ServiceProblem
from .security.caller import Scope, caller_of
from .uploads import limited, too_slow

if TYPE_CHECKING:
    from starlette.requests import Request

    from .settings import Settings

MEDIA_TYPE = "application/json"
MAX_BYTES = 65536
_REMEDY = 'Send JSON like {"source": {"archive": NAME, "study": UID, "series": UID}}; see /openapi.json.'
_Text = Annotated[str, StringConstraints(max_length=MAX_FIELD_BYTES)]


class SeriesSource(BaseModel):
    """Series of one study in one archive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    archive: _Text = Field(description="Name of an archive, as /v1/archives lists them.")
    study: Uid = Field(description="StudyInstanceUID.")
    series: Uid | dict[_Text, Uid] = Field(
        description="SeriesInstanceUID; for several channels one for each, by the names of `parts`."
    )


class ArchiveRequest(BaseModel):
    """One case in an archive. The other members are the fields of the form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: SeriesSource
    push: _Text | None = Field(None, description="Archive that gets the DICOM objects among the outputs.")
    model: _Text | None = Field(None, description="Needed where several models are served.")
    case: _Text | None = Field(None, description="Shown in the answer; never a path.")
    outputs: tuple[_Text, ...] | None = Field(None, max_length=32, description="Kinds of artifacts.")
    ood: OodPolicy | None = None
    empty: EmptyPolicy | None = None
    uncertainty: bool | None = None
    empty_seg: EmptySeg | None = None
    orientation: _Text | None = Field(None, description="How the model's training images lay, as RAS.")
    step: float | None = None
    mirror: bool | None = None
    skip_background: bool | None = None

    def fields(self) -> dict[str, str]:
        """All but the source, as a form's fields."""
        given = self.model_dump(mode="json", exclude={"source"}, exclude_none=True)
        return {name: _text(value) for name, value in given.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)


def is_archive_request(request: Request) -> bool:
    """Whether the body is said to be JSON, and not files."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    return kind.strip().lower() == MEDIA_TYPE


async def receive_archive_request(request: Request, settings: Settings) -> ArchiveRequest:
    """Read a JSON body.

    Raises:
        ServiceProblem: too large (413), too slow (408), malformed (400), invalid (422).
        starlette.requests.ClientDisconnect: the client went away.
    """
    body = bytearray()
    try:
        with anyio.fail_after(settings.upload_timeout):
            async with aclosing(limited(request, min(MAX_BYTES, settings.max_body_bytes))) as chunks:
                async for chunk in chunks:
                    body += chunk
    except TimeoutError:
        raise too_slow(settings.upload_timeout) from None
    try:
        return ArchiveRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        raise _refused(error) from None


def _refused(error: ValidationError) -> ServiceProblem:
    """Say where and what, without repeating the value."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if any(item["type"] == "json_invalid" for item in found):
        detail = "The body is no JSON."
        return ServiceProblem(ServiceCode.REQUEST_MALFORMED, detail, remedy=_REMEDY)
    errors = [{"location": _known(item["loc"]), "message": item["msg"]} for item in found]
    detail = f"{len(errors)} member(s) of the body are not understood."
    return ServiceProblem(ServiceCode.REQUEST_INVALID, detail, remedy=_REMEDY, errors=errors)


def _known(location: tuple[int | str, ...]) -> list[int | str]:
    """Names of ours; others may be anything."""
    known = {*ArchiveRequest.model_fields, *SeriesSource.model_fields}
    return [step if isinstance(step, int) or step in known else "..." for step in location]


def require_archives(request: Request, settings: Settings, *names: str | None) -> None:
    """Refuse archives that are not listed, and callers who may not use any.

    Raises:
        ServiceProblem: ``auth.scope``.
        Refusal: ``dicomweb.not_allowed``.
    """
    wanted = [name for name in names if name is not None]
    if wanted and not caller_of(request).may(Scope.ARCHIVES):
        raise ServiceProblem(
            ServiceCode.AUTH_SCOPE,
            "The key or token does not allow to use archives.",
            remedy=f"Ask the operator for one with the scope {Scope.ARCHIVES}.",
        )
    if not settings.dicomweb.keys() >= set(wanted):
        raise not_listed(tuple(settings.dicomweb))
