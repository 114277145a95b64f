"""What makes the OpenAPI document a contract: codes, examples, links from job to job, who may ask.

Links: https://spec.openapis.org/oas/v3.1.0#link-object
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .problems import MEDIA_TYPE, PROBLEM_TYPES, TYPE_PREFIX
from .security.access import required_scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_JOB = "0123456789abcdef0123456789abcdef"
_PROBLEM = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
# What the gate answers before any route is asked.
_GATE = MappingProxyType(
    {
        "403": "Another site's page asks, or the caller may not.",
        "414": "The address is too long.",
        "421": "The Host header names another machine.",
        "429": "The caller asks too often.",
        "431": "The headers are too large.",
    }
)
_JOB_STATUS: dict[str, Any] = {
    "id": _JOB,
    "state": "running",
    "model": "hippocampus",
    "case": "case",
    "created": "2026-11-22T08:00:00Z",
    "started": "2026-11-22T08:00:01Z",
    "finished": None,
    "attempt": 1,
    "position": None,
    "progress": {"stage": "network", "done": 3, "total": 12},
    "outcome": None,
    "verdict": None,
    "problem": None,
    "push": None,
    "artifacts": [],
    "last_event": 7,
    "links": {
        "self": f"/v1/jobs/{_JOB}",
        "events": f"/v1/jobs/{_JOB}/events",
        "cancel": f"/v1/jobs/{_JOB}",
        "manifest": f"/v1/jobs/{_JOB}/manifest",
    },
}
EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "JobStatus": _JOB_STATUS,
        "Live": {"live": True},
        "ModelReady": {"name": "hippocampus", "ready": True},
        "Ready": {"ready": True, "models": [{"name": "hippocampus", "state": "ready", "failure": None}]},
        "ServerMetadata": {"name": "nnunet-losses", "version": "0.1.0", "extensions": []},
    }
)
_PARAMETERS = {"job": _JOB, "name": "mask", "model": "hippocampus"}
_TAGS = (
    ("jobs", "Cases that are queued, run by a worker, and kept for a while. The way for programs."),
    ("segment", "One case in one bounded call."),
    ("models", "What is served."),
    ("archives", "Archives (PACS) that series are fetched from, and results stored in."),
    ("health", "For probes: the Open Inference Protocol's health and metadata."),
)


def complete(document: dict[str, Any]) -> None:
    """Add what annotations do not say, in place."""
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS]
    document["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, or an identity provider's token.",
        }
    }
    for name, example in EXAMPLES.items():
        if name in document["components"]["schemas"]:
            document["components"]["schemas"][name]["examples"] = [example]
    for path, method, operation in _operations(document):
        operation["operationId"] = operation["operationId"].partition("_v")[0]
        _guard(path, method, operation)
        _name_codes(operation)
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in _PARAMETERS:
                parameter["example"] = _PARAMETERS[parameter["name"]]
    _link(document["paths"].get("/v1/jobs", {}).get("post"))


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _guard(path: str, method: str, operation: dict[str, Any]) -> None:
    """Say what the gate answers, and who may ask: nobody needs a key where the operator configured none."""
    answers = dict(_GATE)
    if required_scope(method, path.replace("{", "").replace("}", "")) is not None:
        operation["security"] = [{}, {"key": []}]
        answers["401"] = "Whoever asks does not say who it is, or is not known."
    for status, text in answers.items():
        operation["responses"].setdefault(
            status, {"description": text, "content": {MEDIA_TYPE: dict(_PROBLEM)}}
        )


def _name_codes(operation: dict[str, Any]) -> None:
    """List the codes that a status may have, and show one of them."""
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get(MEDIA_TYPE)
        codes = [code for code, kind in PROBLEM_TYPES.items() if str(kind.status) == status]
        if content is None or not codes:
            continue
        response["description"] += " Codes: " + ", ".join(f"`{code}`" for code in codes) + "."
        response["content"][MEDIA_TYPE] = {**content, "example": _example(codes[0])}


def _example(code: Any) -> dict[str, Any]:
    kind = PROBLEM_TYPES[code]
    return {
        "type": f"{TYPE_PREFIX}{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": "What was seen, and what was expected.",
        "instance": "6f1f1f5e-9d0a-4c0e-9f6c-0a2b9f6f2f7e",
        "code": str(code),
        "remedy": "What to do.",
    }


def _link(submission: dict[str, Any] | None) -> None:
    """From a submitted job to all that can be asked about it."""
    if submission is None:
        return
    known = {"job": "$response.body#/id"}
    links = {
        "status": {"operationId": "show", "parameters": known},
        "events": {"operationId": "events", "parameters": known},
        "cancel": {"operationId": "cancel", "parameters": known},
        "manifest": {"operationId": "manifest", "parameters": known},
        "answer": {"operationId": "artifact", "parameters": {**known, "name": "answer"}},
        "mask": {"operationId": "artifact", "parameters": {**known, "name": "mask"}},
    }
    for status in ("200", "202"):
        submission["responses"][status]["links"] = links
