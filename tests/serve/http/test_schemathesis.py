"""The service keeps its OpenAPI document, whatever comes: generated requests, and walks from job to job.

https://schemathesis.readthedocs.io
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.settings import Settings

from .fakes import PATIENCE, WAIT, FakeEngine, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), max_examples=12
)


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of a running server, with the channels of its model as files of the body."""
    with serving(FakeEngine(), folder=tmp_path_factory.mktemp("uploads"), retry_after=1) as running:
        document = running.client.get("/openapi.json").json()
        for path in ("/v1/jobs", "/v1/segment"):
            body = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
            body["properties"] |= {name: {"type": "string", "format": "binary"} for name in ("T1", "FLAIR")}
            body |= {"required": ["T1", "FLAIR"], "additionalProperties": False}
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=running.url)
        schema.config.checks.update(excluded_check_names=list(NOT_MEANT))
        yield schema


NOT_MEANT = {
    "positive_data_acceptance": "fields can follow the schema and yet name no model: 4xx is documented",
    "ensure_resource_availability": "a job's results are there when it has succeeded",
    "use_after_free": "DELETE cancels a job, which can be looked at afterwards",
}
OPERATIONS = [
    (path, method)
    for path, methods in create_app(Settings(bundles=("model.bundle",))).openapi()["paths"].items()
    for method in methods
]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_address_keeps_its_word(schema: Any, path: str, method: str) -> None:
    operation = schema[path][method.upper()]

    @SETTINGS
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        case.call_and_validate(timeout=2 * PATIENCE)

    ask()


def test_walks_from_job_to_job(schema: Any) -> None:
    seen: Counter[tuple[str, int]] = Counter()

    class Walk(schema.as_state_machine()):  # type: ignore[misc]
        def before_call(self, case: Any) -> None:
            if case.path == "/v1/jobs" and case.meta.generation.mode is GenerationMode.POSITIVE:  # make a job
                case.body = {"T1": "first", "FLAIR": "second"}
                case.headers = dict(WAIT)  # else the walk would depend on how fast the worker is

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"timeout": 2 * PATIENCE}

        def validate_response(self, response: Any, case: Any, **options: Any) -> None:
            seen[case.path, response.status_code] += 1
            super().validate_response(response, case, **options)

    Walk.run(settings=settings(SETTINGS, max_examples=20, stateful_step_count=6))
    succeeded = {path for path, status in seen if status in {200, 202}}
    assert {"/v1/jobs", "/v1/jobs/{job}", "/v1/jobs/{job}/events"} <= succeeded, seen
