"""The description of the service at /openapi.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.models import OpenAPI

from nnunet_losses.serve.http.job_schemas import JobStatus
from nnunet_losses.serve.http.openapi_details import EXAMPLES
from nnunet_losses.serve.http.schemas import Live, ModelReady, Ready, ServerMetadata
from tools import openapi

if TYPE_CHECKING:
    from .fakes import Service


def test_it_is_valid_and_complete(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    OpenAPI.model_validate(document)
    assert {path: set(methods) for path, methods in document["paths"].items()} == {
        "/v1/archives": {"get"},
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


def test_the_committed_file_is_the_document() -> None:
    """Whoever reads it in the repository, or makes a client of it, has what the server says."""
    assert openapi.FILE.read_text() == openapi.document(), "write it again: make openapi"


def test_examples_follow_their_schemas() -> None:
    models = {"JobStatus": JobStatus, "Live": Live, "ModelReady": ModelReady, "Ready": Ready}
    models["ServerMetadata"] = ServerMetadata
    assert set(models) == set(EXAMPLES)
    for name, example in EXAMPLES.items():
        models[name].model_validate(example)


def test_every_operation_has_words_and_codes(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    names = []
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["description"]
            names.append(operation["operationId"])
            for status, response in operation["responses"].items():
                if status in {"400", "404", "422", "503"}:
                    assert "Codes: `" in response["description"], (operation["operationId"], status)
    assert len(set(names)) == len(names)


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []
