"""The parts of the OpenAPI document that FastAPI cannot derive from annotations."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from nnunet_losses.serve.answer import Answer
from nnunet_losses.serve.policies import EmptyPolicy, EmptySeg, OodPolicy

from .archive_requests import ArchiveRequest
from .openapi_details import complete
from .problems import MEDIA_TYPE
from .schemas import ProblemDetails

if TYPE_CHECKING:
    from fastapi import FastAPI

_REFERENCE = "#/components/schemas/{model}"
_BINARY = {"type": "string", "format": "binary"}

SEGMENT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "One file part per channel, named as in `parts` of /v1/models.",
                    "properties": {
                        "model": {"type": "string", "description": "Needed where several models are served."},
                        "case": {"type": "string", "description": "Shown in the answer; never a path."},
                        "outputs": {
                            "type": "string",
                            "description": "Kinds of artifacts, with commas between; mask,answer by default.",
                        },
                        "ood": {
                            "type": "string",
                            "enum": [*OodPolicy],
                            "description": "What becomes of images unlike the known ones.",
                        },
                        "empty": {
                            "type": "string",
                            "enum": [*EmptyPolicy],
                            "description": "What becomes of answers in which nothing was found.",
                        },
                        "uncertainty": {
                            "type": "string",
                            "enum": ["true", "false"],
                            "description": "Whether maps of the uncertainty are wanted beside the mask.",
                        },
                        "empty_seg": {
                            "type": "string",
                            "enum": [*EmptySeg],
                            "description": "What becomes of a SEG or RTSTRUCT in which nothing is marked.",
                        },
                        "orientation": {
                            "type": "string",
                            "description": "Three letters, as RAS: how the model's training images lay, to "
                            "which a DICOM series is turned; the bundle's by default.",
                        },
                        "push": {
                            "type": "string",
                            "description": "Archive that gets the DICOM objects among the outputs.",
                        },
                    },
                    "additionalProperties": _BINARY,
                }
            },
            "application/json": {"schema": {"$ref": _REFERENCE.format(model=ArchiveRequest.__name__)}},
        },
    }
}

SEGMENT_REPLY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; as multipart/mixed followed by the mask's file.",
        "content": {
            "multipart/mixed": {"schema": _BINARY},
            "application/json": {"schema": {"$ref": _REFERENCE.format(model=Answer.__name__)}},
        },
    }
}


_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One server-sent event; `data` is JSON. `done`, the last one, holds the job's status.",
    "properties": {
        "event": {"type": "string", "enum": ["state", "progress", "cancel_requested", "done"]},
        "data": {"type": "string"},
        "id": {"type": "string", "description": "Number of the event, for Last-Event-ID."},
        "retry": {"type": "integer"},
    },
}
EVENTS_REPLY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events until `done`.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {"description": "The client has all events."},
}

FILE_REPLY: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"*/*": {"schema": {}}}},
    206: {"description": "A part of it.", "content": {"*/*": {"schema": {}}}},
    304: {"description": "The client has it."},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that answers with problem documents."""
    schema = {"$ref": _REFERENCE.format(model=ProblemDetails.__name__)}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def describe(app: FastAPI) -> None:
    """Let ``app.openapi()`` also hold the schemas that no annotation names."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    _, definitions = models_json_schema(
        [(Answer, "serialization"), (ProblemDetails, "serialization"), (ArchiveRequest, "validation")],
        ref_template=_REFERENCE,
    )
    _drop_framework_errors(document)
    document["components"]["schemas"].update(definitions["$defs"])
    complete(document)
    return document


def _drop_framework_errors(document: dict[str, Any]) -> None:
    """Remove the 422 that FastAPI adds to routes with parameters: ours are text, and any text will do."""
    for operations in document["paths"].values():
        for operation in operations.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
