"""The description of the service at /openapi.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.models import OpenAPI

if TYPE_CHECKING:
    from .fakes import Service


def test_it_is_valid_and_complete(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    OpenAPI.model_validate(document)
    assert {path: set(methods) for path, methods in document["paths"].items()} == {
        "/v1/models": {"get"},
        "/v1/models/{model}": {"get"},
        "/v1/models/{model}/reload": {"post"},
        "/v1/jobs": {"post"},
        "/v1/jobs/{job}": {"get", "delete"},
        "/v1/jobs/{job}/artifacts/{name}": {"get"},
        "/v1/jobs/{job}/events": {"get"},
        "/v1/jobs/{job}/manifest": {"get"},
        "/v1/segment": {"post"},
        "/v2": {"get"},
        "/v2/health/live": {"get"},
        "/v2/health/ready": {"get"},
        "/v2/models/{model}": {"get"},
        "/v2/models/{model}/ready": {"get"},
        "/v2/models/{model}/versions/{version}": {"get"},
        "/v2/models/{model}/versions/{version}/ready": {"get"},
    }


def test_every_reference_leads_somewhere(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    references = set(_references(document))
    assert "#/components/schemas/Answer" in references
    for reference in references:
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_errors_are_described_as_problem_documents(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status not in {"200", "202", "204", "206", "304", "416"}:
                    assert list(response["content"]) == ["application/problem+json"], (operation, status)


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []
